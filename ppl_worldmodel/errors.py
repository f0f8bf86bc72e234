"""Exceptions for errors that a user can mend. Each message says what was given, what was expected and what to do."""

WRONG_CALL, FAULT = 2, 70  # exit statuses: an error that the user can mend; a fault of ours or of the machine


class WorldModelError(Exception):
    """A call that cannot be answered as it was made. The command line prints the message and exits with status 2."""


class LoadError(WorldModelError):
    """A model file that cannot be found, imported or used."""


class DataError(WorldModelError):
    """Data or parameter values that do not fit the program."""


class DigitsLost(WorldModelError):
    """An exact answer of which too few digits survive the rounding of floats; the message names the time step."""


class ProgramError(WorldModelError):
    """An exception inside of the user's program; the message names the line, and the exception itself is the cause."""


class ReadingFault(Exception):
    """A fault of this package, not of the program that is read; the message says where, and what to report."""


ANYWAY = (
    "smc, a particle filter at given parameters, and nuts, if its states are continuous: worldmodel check FILE.py --known "
    "--parameters '{...}' --engines smc,nuts"
)


class NotExactlySolvable(WorldModelError):
    """A program whose states cannot be integrated out exactly; the message names the site and the reason."""

    def __init__(self, reason: str, engines: str = ANYWAY):
        super().__init__(f"{reason}\nEngines that can still answer: {engines}.")
