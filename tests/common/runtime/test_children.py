"""A program that is ended, whatever of it was not read."""

import asyncio
import sys
from typing import Final

from common.runtime import children
from tests.waiting import PATIENCE_S

_FLOOD: Final = """
import fcntl, os
fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)
while True:
    os.write(1, bytes(1 << 20))
"""


async def test_one_that_wrote_more_than_was_read_is_seen_to_end() -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-ISc", _FLOOD, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdout
    async with asyncio.timeout(PATIENCE_S):
        assert await process.stdout.read(1)
        await children.end(process)
    assert process.returncode == -9


async def test_one_that_has_ended_by_itself_is_left_alone() -> None:
    process = await asyncio.create_subprocess_exec("true", stdout=asyncio.subprocess.PIPE)
    await process.wait()
    await children.end(process)
    assert process.returncode == 0
