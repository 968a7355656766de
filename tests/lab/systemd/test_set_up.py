"""What docs/set-up.md says was tried is what is there."""

from datetime import date
from pathlib import Path

from lab.systemd import newer, set_up
from lab.systemd.fresh import CHECKOUT
from requirements.locks import Pin

RECORD = CHECKOUT / set_up.RECORD


def test_the_set_up_is_the_one_that_was_tried_last_on_a_machine_that_has_nothing() -> None:
    assert set_up.recorded(RECORD) == set_up.digest(CHECKOUT), "./dev or requirements/ has changed: run ./dev fresh"


def test_a_record_replaces_the_one_before_and_is_read_again(tmp_path: Path) -> None:
    document = tmp_path / "set-up.md"
    document.write_text("# Set-up\n<!-- last run -->\n<!-- end of last run -->\nThe end.\n")
    assert set_up.recorded(document) == ""
    for of in ("aa", "bb"):
        set_up.write_record(document, of, date(2027, 1, 1), set_up.Tried(1, 1, 1, "1 passed"), "held")
    assert set_up.recorded(document) == "bb"
    assert document.read_text().startswith("# Set-up\n")
    assert document.read_text().endswith("The end.\n")
    assert document.read_text().count("last run |") == 1


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
