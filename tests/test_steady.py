"""What `./dev steady` says of runs that failed or were stopped."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import steady
from tests.steady import Run

PASSED = "========= 8197 passed in 499.04s (0:08:19) ========="
UNCOVERED = "ERROR: Coverage failure: total of 99.98 is less than fail-under=100.00"
DIED = "RuntimeError: a process of the tests ended between them: exit code -9"
JUNIT = "<testsuites><testsuite>{}</testsuite></testsuites>"
FAILED_CASE = '<testcase classname="tests.test_a" name="test_b"><failure/></testcase>'


@pytest.mark.parametrize(
    ("printed", "junit", "exit_code", "failed"),
    [
        (PASSED, "<testcase/>", 0, []),
        (PASSED, FAILED_CASE, 1, ["tests.test_a::test_b"]),
        (f"{UNCOVERED}\n{PASSED}", "<testcase/>", 1, [f"({UNCOVERED})"]),
        (
            f"INTERNALERROR> Traceback:\nINTERNALERROR> {DIED}",
            FAILED_CASE,
            3,
            ["tests.test_a::test_b", f"(INTERNALERROR> {DIED})"],
        ),
        ("ran out of mem", None, -9, ["(pytest did not come to an end)"]),
    ],
    ids=["passed", "a test failed", "not all is covered", "a process died", "pytest died"],
)
def test_a_run_that_failed_says_why(
    printed: str,
    junit: str | None,
    exit_code: int,
    failed: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(command: tuple[str, ...], *, stdout: Any, **_: object) -> "subprocess.CompletedProcess[str]":
        stdout.write(printed)
        stdout.flush()
        if junit is not None:
            Path(command[-1].partition("=")[2]).write_text(JUNIT.format(junit))
        return subprocess.CompletedProcess(command, exit_code)

    monkeypatch.setattr(subprocess, "run", run)
    found = steady.run_tests(["-q"], tmp_path / "log")
    assert (found.failed, found.exit_code) == (failed, exit_code)


def test_what_was_seen_until_it_was_stopped_is_summed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = iter([Run([], PASSED, 1.0, 0), Run(["tests.test_a::test_b"], PASSED, 1.0, 1)])

    def run_tests(arguments: list[str], _: Path) -> Run:
        assert arguments == ["-q"]
        for run in runs:
            return run
        raise KeyboardInterrupt

    monkeypatch.setattr(steady, "run_tests", run_tests)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["steady", "5", "--loops", "0", "--", "-q"])
    assert steady.main() == 1
    *_, summary, failed = capsys.readouterr().out.splitlines()
    assert summary == "1 of 2 runs passed; stopped after 2 of 5"
    assert failed == "    1 times: tests.test_a::test_b"


def test_each_busy_loop_has_a_share_of_the_processors_of_its_own_and_none_is_left() -> None:
    before = set(psutil.Process().children())
    with steady.busy(2):
        loops = set(psutil.Process().children()) - before
        assert {os.getsid(loop.pid) for loop in loops} == {loop.pid for loop in loops}
        assert len(loops) == 2
    assert not any(loop.is_running() for loop in loops)
