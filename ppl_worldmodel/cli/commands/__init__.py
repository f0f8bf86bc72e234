"""Subcommands of `worldmodel`, one a file: its parser and its body. Heavy imports stand inside `run`, so that help is quick."""
