"""What is kept is its owner's alone."""

from pathlib import Path

import pytest

from common.runtime import files


def test_a_folder_is_made_for_its_owner_and_can_be_written_in(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    files.make_ready(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.iterdir()) == []


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="exists"):
        files.make_ready(tmp_path / "file")


@pytest.mark.parametrize("mode", [None, 0o644], ids=["new", "open to all"])
def test_a_file_is_its_owners_alone_whatever_it_was(tmp_path: Path, mode: int | None) -> None:
    path = tmp_path / "bundle.zip"
    if mode:
        path.touch()
        path.chmod(mode)
    files.write(path, b"secret")
    assert (path.stat().st_mode & 0o777, path.read_bytes()) == (0o600, b"secret")
