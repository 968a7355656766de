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


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_says_where_and_what_and_shows_no_variable(format: str) -> None:
    program = _PROGRAM.format(format=format)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert "request_failed" in done.stderr
    assert "it failed" in done.stderr
    assert "fail" in done.stderr
    assert "hunter2" not in done.stderr
