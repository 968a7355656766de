"""`./dev demo` as its users run it: it keeps its promises, and Ctrl-C takes it down in order whenever it comes."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.timeout(300)


@contextmanager
def ending(process: subprocess.Popen[str]) -> Generator[None]:
    """Where a test fails, the process ends as well, in order if it can."""
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()


NOT_SHOWN = ". Stopped before the end, so nothing was shown to hold"


@pytest.mark.parametrize(
    ("options", "at", "code", "verdict"),
    [
        ((), "1. A private Redis", 130, NOT_SHOWN),
        pytest.param((), "2 idle", 130, NOT_SHOWN, marks=pytest.mark.long),
        pytest.param(("--once",), "Notes for Ben   LPUSH", 130, NOT_SHOWN, marks=pytest.mark.long),
        pytest.param((), "Ctrl-C ends the demo", 0, " but the recording. All 4 bots were", marks=pytest.mark.long),
    ],
    ids=["starting", "warm", "joining", "showing"],
)
def test_ctrl_c_takes_the_demo_down_in_order_at_every_stage(
    options: tuple[str, ...], at: str, code: int, verdict: str
) -> None:
    """Once there is something to see, Ctrl-C is the sign to go on: every promise is seen to be kept, as with --once."""
    # Not tmp_path: Chromium binds a socket in there, and a socket's path ends at 108 bytes: unix(7).
    with (
        tempfile.TemporaryDirectory(prefix="demo-") as folder,
        subprocess.Popen(
            [sys.executable, "-u", "-m", "lab.demo", *options],
            env=os.environ | {"TMPDIR": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process,
        ending(process),
    ):
        assert process.stdout
        told = ""
        while at not in told:
            line = process.stdout.readline()
            assert line, told
            told += line
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the demo and its children
        told += process.stdout.read()
        process.wait(PATIENCE_S)
        assert list(Path(folder).glob("poolmgr-demo-*")) == [], told
        kept = list(Path(folder).rglob("audio-*.ogg"))
    assert process.returncode == code, told
    assert f"   nothing{verdict}" in told
    assert len(kept) == (code == 0), "what was recorded stays where something was shown"
    assert all(f"it lies in      {path}" in told for path in kept)
    assert bool(re.search(r'Ada +".+words that Ada repeats', told, re.DOTALL)) == (code == 0)
    assert "Traceback" not in told
