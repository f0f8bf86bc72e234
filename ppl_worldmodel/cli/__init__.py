"""The command `worldmodel`: `main` is its parser and exit status, one subcommand a file."""
