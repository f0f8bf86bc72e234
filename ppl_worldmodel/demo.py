"""`make demo`: four calls of `worldmodel check`. A verdict that disagrees is a finding; only a crash is a failure."""

import sys
import time

from ppl_worldmodel.cli.main import main as worldmodel
from ppl_worldmodel.terminal import out

CALLS = (
    (
        ["check", "two_state_pomdp", "--known"],
        "two hidden states, T and O known: the exact filter and smoother against Gibbs draws",
    ),
    (["check", "two_state_pomdp"], "the same system, T and O learned from 50 observations: NUTS, and SVI against it"),
    (["check", "nile"], "real data, local level: how fast does the flow of the Nile change?"),
    (["check", "earthquakes"], "real data, Poisson hidden Markov model: three regimes of earthquakes?"),
)


def main() -> int:
    """Run every call; 0 if all of them ran, whatever they found."""
    failed, times = [], []
    for arguments, question in CALLS:
        command = "worldmodel " + " ".join(arguments)
        out.rule(f"{command}: {question}", align="left")
        started = time.perf_counter()
        if worldmodel(arguments) not in (0, 1):
            failed.append(command)
        times.append((command, time.perf_counter() - started))
    out.rule("time", align="left")
    for command, seconds in times:
        out.print(f"{seconds:6.1f} s  {command}", markup=False)
    out.print(f"{sum(seconds for _, seconds in times):6.1f} s  in all; open out/*/report.html", markup=False)
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
