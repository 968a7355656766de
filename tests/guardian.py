"""Outlives a run of the tests, however that ends, and then ends whatever the run left behind: kill -9 gives pytest no
time to do it.

    python -m tests.guardian MARK FOLDER    waits for the end of its standard input, ends who bears MARK or is told of
                                            FOLDER, and removes FOLDER
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab.parts.table import end_bearers
from tests.waiting import PATIENCE_S

ROOT: Final = Path(__file__).parent.parent
VARIABLE: Final = "TESTS_IN"


@contextmanager
def guarded(folder: Path) -> Generator[None]:
    """What is started meanwhile ends with this process at the latest, if it is told of our environment, of `folder` or
    of a temporary folder, or stems from who is. Browsers are told of a folder alone, and theirs may be temporary.
    """
    mark = os.environ[VARIABLE] = f"{folder}/"
    temporary = tempfile.mkdtemp(prefix="tests-")
    Path(temporary).chmod(0o711)  # as below /tmp, another user finds there what is given to him
    command = (sys.executable, "-m", "tests.guardian", mark, temporary)
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True), _temporary(temporary):
        yield


@contextmanager
def _temporary(folder: str) -> Generator[None]:
    """What this process and those that it starts put into a temporary folder is in this one."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    try:
        yield
    finally:
        tempfile.tempdir = None
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def main(mark: str, temporary: str) -> None:
    sys.stdin.read()
    for told_of in (mark, f"{temporary}/"):
        end_bearers(told_of, PATIENCE_S)
    shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
