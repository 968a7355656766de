"""Writes files that only their owner may read."""

import tempfile
from pathlib import Path


def make_ready(folder: Path) -> None:
    """Make the folder if it is missing, and check that files can be written in it. Raises: OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def write(path: Path, data: bytes) -> None:
    """Write a file. If it exists, only its owner may read it from then on. Raises: OSError."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(data)
