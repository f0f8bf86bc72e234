"""The command `worldmodel`: `main` has its parser and exit statuses; the other files have the subcommands."""
