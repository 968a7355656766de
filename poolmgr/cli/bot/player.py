"""Plays a file with a program that this machine has, in the foreground: its keys and its window are the user's."""

import asyncio
import shutil
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_PLAYERS: Final[dict[str, tuple[Sequence[str], Sequence[str]]]] = {
    "ffplay": (("-hide_banner", "-loglevel", "warning", "-stats", "-autoexit"), ("-nodisp",)),
    "mpv": ((), ("--no-video",)),
    "vlc": (("--play-and-exit",), ("--intf", "dummy")),
}
"""Their options, and those for sound alone. The first that is there plays."""
PLAYERS: Final = tuple(_PLAYERS)
_STANDARD_ERROR: Final = 2
_END_S: Final = 2.0


def find() -> str | None:
    """The name of the player to use. None: this machine has none of PLAYERS."""
    return next((name for name in PLAYERS if shutil.which(name)), None)


async def play(name: str, file: Path, *, only_sound: bool) -> int:
    """Play `file` until its end, or until the user ends the player. Returns the player's exit code. What it says goes
    to standard error. It does not outlive this call, whatever ends that. Raises: OSError.
    """
    always, for_sound = _PLAYERS[name]
    options = (*always, *for_sound) if only_sound else always
    process = await asyncio.create_subprocess_exec(name, *options, file, stdout=_STANDARD_ERROR)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            await _end(process)


async def _end(process: Process) -> None:
    """Have it put the terminal back as it was, for which it has a moment."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
