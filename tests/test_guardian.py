"""A run of the tests that dies at once leaves nothing behind of what it started."""

import asyncio
import os
import secrets
import sys
from pathlib import Path

import pytest

from lab.parts.table import bearing, describe_bearers
from tests.guardian import ROOT
from tests.waiting import wait_until

# One that has the environment of the tests, Redis, one that bears nothing but stems from who names the folder, and one
# like a browser whose agent is dead: it names its folder, which is temporary, and stems from nobody.
HANGS = """
import os, subprocess, tempfile, time
def test_hangs(redis_server, tmp_path):
    subprocess.Popen(["sleep", "{first}"], start_new_session=True)
    subprocess.Popen(["sh", "-c", f"env -i sleep {second} & : {{tmp_path}}; wait"], start_new_session=True)
    browser = ["env", "-i", "sh", "-c", "sleep {third}; :", tempfile.mkdtemp()]
    subprocess.run(["sh", "-c", '"$@" &', "sh", *browser], start_new_session=True)
    time.sleep(600)
"""


@pytest.mark.long
async def test_kill_9_leaves_nothing_behind(tmp_path: Path) -> None:
    first, second, third = (f"600.{secrets.randbits(40)}" for _ in range(3))
    module, base, temporary = tmp_path / "test_hangs.py", tmp_path / "base", tmp_path / "temporary"
    module.write_text(HANGS.format(first=first, second=second, third=third))
    temporary.mkdir()
    options = ("-p", "tests.conftest", "-c", ROOT / "pyproject.toml", f"--basetemp={base}")
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", *options, module),
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=asyncio.subprocess.DEVNULL,
    )
    await wait_until(lambda: bearing(first) and len(bearing(f"sleep {second}")) == len(bearing(f"sleep {third}")) == 2)
    assert "redis-server" in str(describe_bearers(f"{base}/redis"))
    run.kill()
    await run.wait()
    await wait_until(lambda: not [*bearing(str(base)), *bearing(first), *bearing(second), *bearing(third)])
    await wait_until(lambda: not list(temporary.iterdir()))
