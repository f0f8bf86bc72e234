"""Data files: their contents, checked cell by cell, become the arguments of a program."""
