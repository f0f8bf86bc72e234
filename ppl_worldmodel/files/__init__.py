"""Files of data: what stands in them, checked cell by cell, becomes the arguments of a program."""
