"""`./dev steady`: all tests, again and again, beside four busy loops. Says what failed how often."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree

LOOPS: Final = 4
_LOOP: Final = (
    "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(1000000):\n        pass\n"
)

_TESTS_FAILED: Final = 1
"""pytest's exit code for that, and for too low a coverage: https://docs.pytest.org/en/stable/reference/exit-codes.html"""


class Run(NamedTuple):
    """`failed`: the tests; or why the run failed although none of them did."""

    failed: list[str]
    closing: str
    took_s: float
    exit_code: int


@contextmanager
def busy(loops: int) -> Generator[None]:
    """The processors have that much else to do. The loops end with us, however that comes."""
    # Linux may share the processors out among sessions first (sched(7), autogroup): in ours they would count as one.
    command = (sys.executable, "-c", _LOOP)
    processes = [subprocess.Popen(command, start_new_session=True) for _ in range(loops)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run_tests(arguments: Sequence[str], log: Path) -> Run:
    """All tests once; what pytest prints goes into `log`."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, log.open("w") as lines:
        report = Path(folder, "junit.xml")
        command = (sys.executable, "-m", "pytest", *arguments, f"--junitxml={report}")
        done = subprocess.run(command, stdout=lines, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
        failed = read_failures(report.read_text()) if report.exists() else []
    text = log.read_text()
    if done.returncode not in (0, _TESTS_FAILED) or (done.returncode and not failed):
        failed.append(read_fault(text))
    closing = re.findall(r"^.*\d+ (?:passed|failed|error).* in [\d.]+s.*$", text, re.MULTILINE)
    last = closing[-1].strip(" =") if closing else (text.strip().splitlines() or [""])[-1]
    return Run(failed, last, time.monotonic() - began, done.returncode)


def read_failures(junit: str) -> list[str]:
    """The tests that failed, or whose set-up did, by class and name."""
    cases = ElementTree.fromstring(junit).iter("testcase")
    return [
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]


def read_fault(printed: str) -> str:
    """Why a run failed of which no test did: what was not covered, or an error of pytest itself."""
    said = re.search(r"^(?:ERROR: |FAIL |INTERNALERROR> \w+: ).*", printed, re.MULTILINE)
    return f"({said[0]})" if said else "(pytest did not come to an end)"


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev steady", description=__doc__)
    parser.add_argument("runs", nargs="?", type=int, default=5, help="how often (default: 5)")
    parser.add_argument("--loops", type=int, default=LOOPS, help=f"busy loops beside it (default: {LOOPS})")
    words = sys.argv[1:]
    split = words.index("--") if "--" in words else len(words)
    chosen = parser.parse_args(words[:split])
    if chosen.runs < 1 or chosen.loops < 0:
        parser.error("cannot run less than once, or beside less than nothing")
    folder = Path(tempfile.mkdtemp(prefix="poolmgr-steady-"))
    print(
        f"{chosen.runs} runs beside {chosen.loops} busy loops on {os.cpu_count()} processors; logs in {folder}",
        flush=True,
    )
    failures: Counter[str] = Counter()
    passed = ended = 0
    with suppress(KeyboardInterrupt), busy(chosen.loops):
        for number in range(1, chosen.runs + 1):
            run = run_tests(words[split + 1 :], folder / f"run-{number}.log")
            ended += 1
            passed += run.exit_code == 0
            failures.update(run.failed)
            print(
                f"run {number} of {chosen.runs}: {run.closing}, exit code {run.exit_code}, {run.took_s:.0f} s",
                flush=True,
            )
            for name in run.failed:
                print(f"    failed: {name}", flush=True)
    stopped = "" if ended == chosen.runs else f"; stopped after {ended} of {chosen.runs}"
    print(f"{passed} of {ended} runs passed{stopped}")
    for name, times in failures.most_common():
        print(f"    {times} times: {name}")
    return 0 if passed == chosen.runs else 1


if __name__ == "__main__":
    sys.exit(main())
