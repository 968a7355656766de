"""Who bears a mark, in its arguments or in its environment, is found and ended; nobody else is."""

import os
import secrets
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

from lab.parts.table import bearing, describe_bearers, end_bearers
from tests.waiting import PATIENCE_S, wait_until


@contextmanager
def sleeper(name: str = "sleep", **environment: str) -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen([name, "60"], executable="/bin/sleep", env={**os.environ, **environment}) as process:
        yield process
        process.kill()


async def test_bearers_are_found_and_ended_and_nobody_else() -> None:
    mark = f"mark-{secrets.token_hex(8)}"
    with sleeper(mark) as by_argument, sleeper(TOLD=f"x/{mark}/y") as by_environment, sleeper() as bystander:
        both = {by_argument.pid, by_environment.pid}
        await wait_until(lambda: set(bearing(mark)) == both)  # between fork and exec a process bears its parent's
        assert f"process {by_argument.pid}: {mark} 60 " in describe_bearers(mark)
        end_bearers(mark, PATIENCE_S)
        assert bearing(mark) == []
        assert {by_argument.wait(), by_environment.wait()} == {-9}
        assert bystander.poll() is None


def test_nobody_finds_itself_or_whom_it_stems_from() -> None:
    assert {os.getpid(), os.getppid()}.isdisjoint(bearing("PATH="))
