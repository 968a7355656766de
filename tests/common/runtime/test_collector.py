"""The garbage collector is held while a program of ours is imported, and left alone in any other process."""

import subprocess
import sys

import pytest

from tests.waiting import PATIENCE_S

PROGRAM = """
import gc
from common.runtime import collector
{start}
with collector.held():
    during = gc.isenabled()
collector.release()
print(during, gc.isenabled(), gc.get_freeze_count() > 0)
"""


@pytest.mark.parametrize(
    ("start", "told"), [("collector.hold()", "False True True"), ("", "True True False")], ids=["ours", "another"]
)
def test_it_collects_again_whatever_was_held(start: str, told: str) -> None:
    program = PROGRAM.format(start=start)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert done.stdout.strip() == told
