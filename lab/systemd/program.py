"""What `./dev fleet-test` and `./dev fresh` begin and end with: mounts of their own, Ctrl-C, verdict, exit code."""

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Final, NoReturn

from lab.systemd import nspawn
from lab.systemd.report import FleetError, Report

_FAILED: Final = 1
_CANNOT: Final = 2
_INTERRUPTED: Final = 130


def carry_out(module: str, name: str, run: Callable[[Report], None]) -> NoReturn:
    """Run `run` as `python -m MODULE`. Exit code 0 only if every promise was kept."""
    report = Report()
    try:
        nspawn.own_mounts(module)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _interrupt)
        run(report)
    except (FleetError, subprocess.SubprocessError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(_CANNOT)
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the machine is down and its folder gone", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    report.heading(f"{report.kept} checks ok, {report.failed} failed; the machine is down and its folder gone")
    sys.exit(_FAILED if report.failed else 0)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
