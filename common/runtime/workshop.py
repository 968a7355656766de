"""Folders for copies of recordings that are needed for a moment only.

The process that works in one holds its lock. The kernel frees that however the process ends, so that the next one finds
what was left of one that was killed. Only their owner may read them.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PREFIX: Final = "poolmgr-workshop-"
_YOUNG_S: Final = 60.0
"""One that is younger may just not be locked yet."""


@contextmanager
def workshop() -> Generator[Path]:
    """An empty folder, which is removed with all that is in it. Raises: OSError."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder, _opened(folder) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(folder)


def sweep() -> int:
    """Remove what killed processes of this user left behind. Returns how many folders that were."""
    found = Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")
    return sum(_is_removed(folder) for folder in found)


def _is_removed(folder: Path) -> bool:
    try:
        seen = folder.lstat()
        if seen.st_uid != os.getuid() or time.time() - seen.st_mtime < _YOUNG_S:
            return False
        with _opened(str(folder)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
    except OSError:  # somebody works in it, or it is gone
        return False
    return True


@contextmanager
def _opened(folder: str) -> Generator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
