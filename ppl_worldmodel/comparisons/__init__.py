"""Which model? One comparison a file."""
