"""The exit codes of both programs, in one table. `--help` of each shows it; docs/operations.md says more."""

from typing import Final, NamedTuple

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2  # click's own code for it
EXIT_REPLACED: Final = 3  # a supervisor may start the program again
EXIT_NOT_FOUND: Final = 4
EXIT_UNREACHABLE: Final = 5
EXIT_TIMEOUT: Final = 6
EXIT_REFUSED: Final = 7
EXIT_INTERRUPTED: Final = 130  # as shells report it: 128 + SIGINT

BOTH: Final = ("poolmgr", "poolmgr-worker")
_MANAGER: Final = ("poolmgr",)


class Exit(NamedTuple):
    """An exit code. `programs`: which programs end with it."""

    code: int
    meaning: str
    programs: tuple[str, ...]


EXITS: Final = (
    Exit(0, "done", BOTH),
    Exit(
        EXIT_FAILED, "it did not succeed: the bot ended in Error, Denied or NotAllowed, or was rejected; a fault", BOTH
    ),
    Exit(EXIT_USAGE, "wrong words or a wrong configuration, or what it needs is not there", BOTH),
    Exit(EXIT_REPLACED, "serve: another manager took over", _MANAGER),
    Exit(EXIT_NOT_FOUND, "there is no such bot, VM or entry", _MANAGER),
    Exit(EXIT_UNREACHABLE, "Redis is away, or refused", _MANAGER),
    Exit(EXIT_TIMEOUT, "--timeout passed", _MANAGER),
    Exit(EXIT_REFUSED, "probe, once: the meeting did not take the bot, by what its host or the link says", BOTH),
    Exit(EXIT_INTERRUPTED, "Ctrl-C while watching; probe, once: stopped before it was in the meeting", BOTH),
)


def epilog(program: str) -> str:
    """The table as text for the end of a program's help."""
    lines = [f"  {way.code:>3}  {way.meaning}" for way in EXITS if program in way.programs]
    return "\n".join(["\b", "Exit codes:", *lines])
