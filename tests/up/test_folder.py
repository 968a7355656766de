"""The state folder: where it is, and that it is one user's and one process's alone."""

import errno
import os
import stat
from pathlib import Path

import pytest

from poolmgr.one_machine.folder import CannotRunError, StateFolder, default_state_dir
from poolmgr.one_machine.news import PartName


@pytest.mark.parametrize(
    ("environment", "is_root", "path"),
    [
        ({"XDG_STATE_HOME": "/home/ana/state"}, False, "/home/ana/state/poolmgr"),
        ({"XDG_STATE_HOME": "relative"}, False, "~/.local/state/poolmgr"),
        ({}, False, "~/.local/state/poolmgr"),
        ({"XDG_STATE_HOME": "/home/ana/state"}, True, "/var/lib/poolmgr"),
    ],
)
def test_it_is_where_state_belongs(environment: dict[str, str], is_root: bool, path: str) -> None:
    assert default_state_dir(environment, is_root=is_root) == Path(path).expanduser()


def test_it_is_made_with_nobody_else_let_in(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "a" / "state")
    with folder.held():
        folders = [
            folder.path,
            folder.redis_data,
            folder.log(PartName.AGENT).parent,
            folder.run_file(PartName.AGENT).parent,
        ]
        assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_two_at_a_time_are_refused_and_one_after_the_other_is_not(tmp_path: Path) -> None:
    ways_out = f"process {os.getpid()}.*--state-dir.*`kill -9 {os.getpid()}` ends it alone"
    with StateFolder(tmp_path).held(), pytest.raises(CannotRunError, match=ways_out):
        StateFolder(tmp_path).held().__enter__()
    with StateFolder(tmp_path).held():
        pass


def test_a_folder_in_which_others_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(CannotRunError, match="others may write there; name a folder of your own with --state-dir"):
        StateFolder(tmp_path).held().__enter__()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotRunError, match=r"cannot keep state in .*Not a directory"):
        StateFolder(tmp_path / "file" / "state").held().__enter__()


def test_a_folder_on_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ftruncate(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "ftruncate", ftruncate)
    with pytest.raises(CannotRunError, match=r"cannot keep state in .*No space left on device"):
        StateFolder(tmp_path).held().__enter__()


@pytest.mark.parametrize(("length", "is_fine"), [(107, True), (108, False)])
def test_a_path_that_no_socket_can_have_is_refused_with_the_way_out(length: int, is_fine: bool) -> None:
    folder = StateFolder(Path("/" + "x" * (length - len("//redis.sock"))))
    assert len(str(folder.redis_socket)) == length
    if is_fine:
        folder.check_socket()
    else:
        with pytest.raises(CannotRunError, match=r"108 bytes.*ends at 107; name a shorter folder with --state-dir"):
            folder.check_socket()
