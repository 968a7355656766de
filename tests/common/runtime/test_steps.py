import os
import signal
import subprocess
import sys

import pytest

from common.runtime.steps import VARIABLE, AgentStep, ManagerStep

_PROGRAM = """
from common.runtime.steps import ManagerStep, done, is_armed
done(ManagerStep.LEASE_TAKEN)
for _ in range(3):
    done(ManagerStep.JOBS_TAKEN)
    print("went on", flush=True)
"""


@pytest.mark.parametrize(
    ("armed", "went_on", "code"),
    [
        ("", 3, 0),
        ("jobs_taken", 0, -signal.SIGKILL),
        ("jobs_taken:1", 0, -signal.SIGKILL),
        ("jobs_taken:3", 2, -signal.SIGKILL),
        ("jobs_taken:4", 3, 0),
        ("events_read", 3, 0),
    ],
)
def test_a_process_ends_after_the_step_that_is_armed_and_at_no_other(armed: str, went_on: int, code: int) -> None:
    environment = {**os.environ, VARIABLE: armed}
    ended = subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, timeout=100)
    assert (ended.stdout.count(b"went on"), ended.returncode) == (went_on, code)


def test_no_two_steps_have_one_name() -> None:
    names = [*ManagerStep, *AgentStep]
    assert len(set(names)) == len(names)
