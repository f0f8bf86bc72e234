"""Where does output go?  The result to standard output, progress and messages to standard error."""

from rich.console import Console

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
