"""Where does output go?  The result to standard output, progress and messages to standard error."""

import sys

from rich.console import Console

out = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
err = Console(stderr=True, highlight=False)
