"""Ends a program that this one started with pipes."""

import asyncio
from contextlib import suppress


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill it if it runs, and wait until it is gone. It has no children of its own that hold its pipes.

    They are read empty: asyncio (3.11) waits for their end, too, and does not read one on whose buffer 128 KB wait.
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
