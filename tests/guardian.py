"""Outlives a run of the tests, however that ends, and then ends whatever the run left behind: kill -9 gives pytest no
time to do it.

    python -m tests.guardian MARK       waits for the end of its standard input, and ends who bears MARK
"""

import os
import subprocess
import sys
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
    """What is started meanwhile ends with this process at the latest, if it is told of our environment or of `folder`,
    or stems from who is.
    """
    mark = os.environ[VARIABLE] = f"{folder}/"
    command = (sys.executable, "-m", "tests.guardian", mark)
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True):
        yield


if __name__ == "__main__":
    sys.stdin.read()
    end_bearers(sys.argv[1], PATIENCE_S)
