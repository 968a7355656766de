"""Files that only their owner may read."""

import tempfile
from pathlib import Path


def make_ready(folder: Path) -> None:
    """The folder is there, made if need be, and files can be written in it. Raises: OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def write(path: Path, data: bytes) -> None:
    """Also one that is there already is its owner's alone from then on. Raises: OSError."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(data)
