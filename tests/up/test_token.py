"""The token: made once, kept, private; and what the manager is told of it lets it in, beside those that were there."""

import hashlib
import stat
from pathlib import Path

import msgspec
import pytest

from common.config.settings import ApiSettings, TokenSettings, parse
from poolmgr.api.tokens import Tokens
from poolmgr.one_machine import token
from poolmgr.one_machine.folder import CannotRunError, StateFolder


def test_it_is_made_at_the_first_start_and_kept(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    first = token.keep(folder)
    assert token.keep(folder) == first
    assert token.keep(StateFolder(tmp_path / "..")) != first
    assert folder.header_file.read_text() == f"Authorization: Token {first}\n"


def test_nobody_else_may_read_it_whatever_was_made_of_its_files(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    token.keep(folder)
    for file in (folder.token_file, folder.header_file):
        file.chmod(0o644)
    token.keep(folder)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_an_empty_file_is_none_and_one_of_ones_own_is_taken(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.token_file.write_text("\n")
    assert token.keep(folder).startswith("pm_")
    folder.token_file.write_text("a-token-of-mine-1234\n")
    assert token.keep(folder) == "a-token-of-mine-1234"


@pytest.mark.parametrize("weak", ["short", "x" * 513, "with a space in its midst", "ünprintable-in-ascii-1"])
def test_one_that_is_weak_or_cannot_be_sent_is_refused_without_showing_it(tmp_path: Path, weak: str) -> None:
    folder = StateFolder(tmp_path)
    folder.token_file.write_text(weak)
    with pytest.raises(CannotRunError, match="20 to 512 printable ASCII characters") as refused:
        token.keep(folder)
    assert weak not in str(refused.value)


def test_the_manager_is_told_of_it_and_of_those_that_are_configured() -> None:
    theirs = TokenSettings("crm", hashlib.sha256(b"theirs").hexdigest(), "own", 2.5, 20, True, "read", True)
    assert all(getattr(theirs, field.name) != field.default for field in msgspec.structs.fields(theirs))
    written = token.with_token("ours", ApiSettings(tokens=[theirs]))
    assert "ours" not in written
    read = parse("", {"POOLMGR_API__TOKENS": written}).api.tokens
    assert read[0] == theirs
    assert Tokens(read).caller("Token ours").name == token.NAME
    assert Tokens(read).caller("Token theirs") == theirs


def test_a_configured_token_of_the_same_name_is_refused() -> None:
    theirs = TokenSettings(token.NAME, "0" * 64)
    with pytest.raises(CannotRunError, match="the name 'up' is taken"):
        token.with_token("ours", ApiSettings(tokens=[theirs]))
