"""A run of the tests that dies at once leaves nothing behind of what it started."""

import asyncio
import secrets
import sys
from pathlib import Path

import pytest

from lab.parts.table import bearing, describe_bearers
from tests.guardian import ROOT
from tests.waiting import wait_until

# One that has the environment of the tests, Redis, and one that bears nothing but stems from who names the folder.
HANGS = """
import os, subprocess, time
def test_hangs(redis_server, tmp_path):
    subprocess.Popen(["sleep", "{first}"], start_new_session=True)
    subprocess.Popen(["sh", "-c", f"env -i sleep {second} & : {{tmp_path}}; wait"], start_new_session=True)
    time.sleep(600)
"""


@pytest.mark.long
async def test_kill_9_leaves_nothing_behind(tmp_path: Path) -> None:
    first, second = (f"600.{secrets.randbits(40)}" for _ in range(2))
    module, base = tmp_path / "test_hangs.py", tmp_path / "base"
    module.write_text(HANGS.format(first=first, second=second))
    options = ("-p", "tests.conftest", "-c", ROOT / "pyproject.toml", f"--basetemp={base}")
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", *options, module, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
    )
    await wait_until(lambda: bearing(first) and len(bearing(f"sleep {second}")) == 2)
    assert "redis-server" in str(describe_bearers(f"{base}/redis"))
    run.kill()
    await run.wait()
    await wait_until(lambda: not [*bearing(str(base)), *bearing(first), *bearing(second)])
