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
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree

LOOPS: Final = 4
_LOOP: Final = (
    "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(1000000):\n        pass\n"
)


class Run(NamedTuple):
    failed: list[str]
    closing: str
    took_s: float
    exit_code: int


@contextmanager
def busy(loops: int) -> Generator[None]:
    """The processors have that much else to do. The loops end with us, however that comes."""
    processes = [subprocess.Popen((sys.executable, "-c", _LOOP)) for _ in range(loops)]
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
        failed = read_failures(report.read_text()) if report.exists() else ["(pytest did not come to an end)"]
    text = log.read_text()
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
    bad = 0
    with busy(chosen.loops):
        for number in range(1, chosen.runs + 1):
            run = run_tests(words[split + 1 :], folder / f"run-{number}.log")
            bad += run.exit_code != 0
            failures.update(run.failed)
            print(
                f"run {number} of {chosen.runs}: {run.closing}, exit code {run.exit_code}, {run.took_s:.0f} s",
                flush=True,
            )
            for name in run.failed:
                print(f"    failed: {name}", flush=True)
    print(f"{chosen.runs - bad} of {chosen.runs} runs passed")
    for name, times in failures.most_common():
        print(f"    {times} times: {name}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
