"""Folders for copies of recordings that are needed for a moment only.

The process that works in one holds its lock. The kernel frees that however the process ends, so that the next one finds
what was left of one that was killed. Only their owner may read them.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "poolmgr-workshop-"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def workshop() -> Generator[Path]:
    """An empty folder, which is removed with all that is in it. Raises: OSError."""
    while True:  # again only if a sweep was quicker, and those are carried out when a manager starts
        with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder, suppress(_GoneError), _locked(folder):
            yield Path(folder)
            return


def sweep() -> int:
    """Remove what killed processes of this user left behind. Returns how many folders that were."""
    try:
        found = [*Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")]
    except OSError:  # there is no folder that can be written to: nothing can have been left in it
        return 0
    return sum(_is_removed(folder) for folder in found)


class _GoneError(Exception):
    """A sweep removed the folder before it was locked."""


@contextmanager
def _locked(folder: str) -> Generator[None]:
    """Raises: _GoneError, OSError."""
    try:
        lock = os.open(folder, _FOLDER)
    except FileNotFoundError as error:
        raise _GoneError from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(folder):
            raise _GoneError
        yield
    finally:
        os.close(lock)


def _is_removed(folder: Path) -> bool:
    try:
        if folder.lstat().st_uid != os.getuid():
            return False
        lock = os.open(folder, _FOLDER)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        finally:
            os.close(lock)
    except OSError:  # somebody works in it, or it is gone
        return False
    return True
