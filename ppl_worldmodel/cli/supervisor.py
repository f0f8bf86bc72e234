"""Process supervisor of the command: it stops the work at once, removes temporary files, and reports killed work.

Python runs no signal handler while compiled code runs, which may take minutes. So the work is done in a child, forked before
anything heavy is imported, and the process that the user sees only waits: on SIGINT or SIGTERM it kills the child, removes the
temporary files that the child had announced, and ends with 130 or 143. A child that was killed by the machine (out of memory, a
crash of compiled code) gives 70.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable

from ppl_worldmodel.errors import FAULT
from ppl_worldmodel.files import temporary

INTERRUPTED, TERMINATED = 130, 143
STOPPED = {signal.SIGINT: (INTERRUPTED, "interrupted"), signal.SIGTERM: (TERMINATED, "terminated")}
LEFT = "no file is left half written"


class _Stop(BaseException):
    """A signal to stop; raised by the handler, so that waiting ends."""


def supervised(work: Callable[[], int]) -> int:
    """Run `work` in a child process; both processes return its exit status. Without `fork`, run it in this process."""
    if not hasattr(os, "fork"):
        return work()
    # What was started with a signal ignored (nohup, a background job) goes on ignoring it.
    stops = [number for number in STOPPED if signal.getsignal(number) is not signal.SIG_IGN]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    alive, held = os.pipe()  # the child sees its end when this process is gone
    written, announced = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(held)
        os.close(written)
        for number in stops:  # Ctrl-C goes to the child, too: it leaves the answer to its parent
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else _nothing)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        temporary.announce_to(announced)
        threading.Thread(target=_outlived, args=(alive,), daemon=True).start()
        return work()
    os.close(alive)
    os.close(announced)
    status, asked = None, None

    def stop(number: int, frame: object) -> None:
        for each in stops:
            signal.signal(each, signal.SIG_IGN)
        raise _Stop(number)

    for number in stops:
        signal.signal(number, stop)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        status = os.waitpid(child, 0)[1]
        signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    except _Stop as stopped:
        asked = signal.Signals(stopped.args[0])
    if status is None:
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    temporary.remove(temporary.announced(written))
    code = os.waitstatus_to_exitcode(status)
    if asked is not None:
        code, said = STOPPED[asked]
        _tell(f"worldmodel: {said}; {LEFT}")
    elif code < 0:
        code, said = FAULT, _killed(-code)
        _tell(f"worldmodel: {said}; {LEFT}")
    return code


def _nothing(number: int, frame: object) -> None:
    """A handler that lets a signal pass; programs that the child starts do not inherit it."""


def _outlived(alive: int) -> None:
    """Wait for the end of the parent, then clean up and exit."""
    os.read(alive, 1)
    temporary.remove(temporary.own())
    os._exit(FAULT)


def _killed(number: int) -> str:
    """The message when a signal that nobody asked for ended the work."""
    if number == signal.SIGKILL:
        return (
            "the work was killed (signal 9): most likely the machine ran out of memory; give a lower --max-memory, a shorter "
            "series, or fewer --engines"
        )
    return (
        f"the work crashed in compiled code ({signal.Signals(number).name}): a fault of ours, of a library or of the machine; "
        "report the command, the model file and the versions that `worldmodel --version` prints"
    )


def _tell(text: str) -> None:
    """One line on standard error; a cursor that a progress display had hidden is shown again."""
    if sys.stderr.isatty():
        text = f"\r\x1b[?25h{text}"
    print(text, file=sys.stderr, flush=True)
