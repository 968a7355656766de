"""What a log line may hold."""

import subprocess
import sys

import pytest

_PROGRAM = """
import structlog
from common.runtime.log import configure
from common.config.settings import LogSettings
configure(LogSettings(format="{format}"), program="test")
def fail():
    secret = "hunter" + "2"
    raise ValueError("it failed")
try:
    fail()
except ValueError:
    structlog.get_logger().exception("request_failed")
"""


@pytest.mark.parametrize("format", ["json", pytest.param("console", marks=pytest.mark.long)])
def test_a_traceback_says_where_and_what_and_shows_no_variable(format: str) -> None:
    program = _PROGRAM.format(format=format)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert "request_failed" in done.stderr
    assert "it failed" in done.stderr
    assert "fail" in done.stderr
    assert "hunter2" not in done.stderr


_TOGETHER = """
import io, sys
from contextlib import suppress
class Raw(io.RawIOBase):
    writes = []
    def writable(self):
        return True
    def write(self, data):
        self.writes.append(bytes(data))
        return len(data)
sys.stderr = io.TextIOWrapper(io.BufferedWriter(Raw()))
import structlog
from common.runtime.log import configure, together
from common.config.settings import LogSettings
configure(LogSettings(format="json"), program="test")
log = structlog.get_logger()
log.info("one")
log.warning("two")
with suppress(ValueError), together():
    log.info("three")
    with together():
        log.info("four")
    log.info("five")
    raise ValueError
log.info("six")
print(*(sum(name in data for name in (b"one", b"two", b"three", b"four", b"five", b"six")) for data in Raw.writes))
"""


def test_lines_are_written_at_once_but_for_those_that_are_logged_together() -> None:
    done = subprocess.run([sys.executable, "-c", _TOGETHER], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.split() == ["1", "1", "3", "1"]
