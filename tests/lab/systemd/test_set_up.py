"""What docs/set-up.md says was tried is what is there."""

import os
from datetime import date
from pathlib import Path

import pytest

from lab.systemd import newer, set_up
from lab.systemd.fresh import CHECKOUT
from requirements.locks import Pin

RECORD = CHECKOUT / set_up.RECORD


@pytest.mark.skipif(set_up.BEING_TRIED in os.environ, reason="it is being tried, and can only be recorded then")
def test_the_set_up_is_the_one_that_held_last_on_a_machine_that_has_nothing() -> None:
    doubt = set_up.doubt(RECORD, set_up.digest(CHECKOUT))
    assert not doubt, f"{doubt}: run ./dev fresh"


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """Without a record."""
    document = tmp_path / "set-up.md"
    document.write_text("# Set-up\n<!-- last run -->\n<!-- end of last run -->\nThe end.\n")
    return document


def write(document: Path, of: str, closing: str, *, test_s: float = 500.0, rest: str = set_up.HELD) -> None:
    set_up.write_record(document, of, date(2027, 1, 1), set_up.Tried(60.0, 30.0, test_s, closing), rest)


def test_a_record_replaces_the_one_before_and_is_read_again(document: Path) -> None:
    assert set_up.doubt(document, "aa")
    for of in ("aa", "bb"):
        write(document, of, "8197 passed, 2 skipped in 499.04s (0:08:19)")
        assert set_up.doubt(document, of) == ""
    assert set_up.doubt(document, "aa") == "./dev or requirements/ has changed"
    assert document.read_text().startswith("# Set-up\n")
    assert document.read_text().endswith("The end.\n")
    assert document.read_text().count("last run |") == 1


@pytest.mark.parametrize(
    ("closing", "test_s", "rest"),
    [
        ("only tests/requirements: 27 passed in 0.63s", 15.0, "held"),
        ("1 failed, 6712 passed in 556.1s, not passed", 560.0, "held"),
        ("8197 passed in 499.0s, not passed", 500.0, "held"),  # as where the coverage is too low
        ("no closing line, not passed", 500.0, "held"),
        ("", 0.0, ""),
        ("8197 passed in 499.0s", 0.0, "held"),
        ("8197 passed in 499.0s", 500.0, "not tried yet"),
        ("8197 passed in 499.0s", 500.0, "not all held: 3"),
    ],
)
def test_a_record_proves_nothing_unless_all_tests_passed_and_all_else_held(
    document: Path, closing: str, test_s: float, rest: str
) -> None:
    write(document, "aa", closing, test_s=test_s, rest=rest)
    assert set_up.doubt(document, "aa")


def test_a_change_of_a_lock_is_seen(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "dev").write_text("#!/bin/sh\n")
    lock = tmp_path / "requirements" / "run.txt"
    lock.write_text("one==1\n")
    before = set_up.digest(tmp_path)
    lock.write_text("one==2\n")
    assert set_up.digest(tmp_path) != before


def test_an_index_offers_a_newer_release_of_each_pin(tmp_path: Path) -> None:
    newer.make_index(tmp_path, {"some-tool": Pin("1.0", frozenset({"toml"}), applies=True, hashes=1)})
    assert sorted(path.name for path in (tmp_path / "some-tool").iterdir()) == [
        "index.html",
        f"some_tool-{newer.VERSION}-py3-none-any.whl",
    ]
