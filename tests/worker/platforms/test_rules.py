"""What a screens.toml may say, and what is said about one that is wrong."""

from pathlib import Path

import pytest

from worker.lifecycle import Screen
from worker.platforms import adapter_for
from worker.platforms.room import SCREENS
from worker.platforms.rules import BadRulesError, load

GOOD = """
[[screen]]
name = "in_meeting"
rule = "toolbar"
visible = ["#toolbar"]

[[screen]]
name = "name_prompt"
rule = "prompt"
visible = ["#prompt"]

[actions]
name = "#name"
join = "#join"
leave = "#leave"
cancel = "#cancel"
"""


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "screens.toml"
    path.write_text(text)
    return path


def test_the_order_of_the_file_is_the_order_of_the_rules(tmp_path: Path) -> None:
    rules = load(write(tmp_path, GOOD))
    assert [(screen.name, screen.rule) for screen in rules.screen] == [
        (Screen.IN_MEETING, "toolbar"),
        (Screen.NAME_PROMPT, "prompt"),
    ]
    assert rules.actions.switch_off == []
    assert rules.readings.participants is None
    assert (rules.actions.chat, rules.readings.people, rules.readings.chat) == (None, None, None)


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ('name = "in_meeting"', 'name = "inmeeting"', "screen[0].name: Invalid enum value 'inmeeting'"),
        ('name = "in_meeting"', 'name = "unknown"', "screen[0].name: unknown is what remains when no rule matches"),
        ('rule = "prompt"', 'rule = "toolbar"', "screen[1].rule: 'toolbar' is the name of an earlier rule"),
        ('rule = "prompt"', 'rule = ""', "screen[1].rule: Expected `str` of length >= 1"),
        ('visible = ["#prompt"]', "visible = []", "screen[1].visible: Expected `array` of length >= 1"),
        ('visible = ["#prompt"]', "", "screen[1]: Object missing required field `visible`"),
        (
            'visible = ["#prompt"]',
            'visible = ["#prompt"]\nshown = 1',
            "screen[1]: Object contains unknown field `shown`",
        ),
        ('join = "#join"', "join = 1", "actions.join: Expected `str`, got `int`"),
        ('join = "#join"', "", "actions: Object missing required field `join`"),
        ('cancel = "#cancel"', 'cancel = "#cancel"\n[reading]', "file: Object contains unknown field `reading`"),
        ('cancel = "#cancel"', 'cancel = "#cancel"\n[readings.people]\neach = "li"', "readings.people: Object missing"),
        ('cancel = "#cancel"', 'cancel = "#cancel"\n[readings.chat]\neach = ""', "readings.chat.each: Expected `str`"),
        ('name = "name_prompt"', 'name = "ended"', "screen: no rule for name_prompt"),
        ("[actions]", "[actions", "is not TOML: "),
    ],
)
def test_a_fault_is_told_with_its_file_and_key(tmp_path: Path, right: str, wrong: str, fault: str) -> None:
    assert right in GOOD
    path = write(tmp_path, GOOD.replace(right, wrong))
    with pytest.raises(BadRulesError) as caught:
        load(path)
    assert caught.value.path == path
    assert caught.value.fault.startswith(fault)
    assert str(caught.value).startswith(f"cannot use {path}: {fault}")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadRulesError, match="No such file"):
        load(tmp_path / "screens.toml")


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "screens.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadRulesError, match="is not TOML"):
        load(path)


def test_the_room_is_known_with_every_screen_it_can_show() -> None:
    adapter = adapter_for("room")
    assert adapter is not None
    assert adapter.platform == "room"
    assert {screen.name for screen in adapter.rules.screen} == set(Screen) - {
        Screen.LOADING,
        Screen.UNKNOWN,
        Screen.NOT_FOUND,
    }


def test_a_platform_nobody_wrote_is_none() -> None:
    assert adapter_for("zoom") is None


def test_an_operators_file_replaces_the_one_of_the_release(tmp_path: Path) -> None:
    write(tmp_path / "room", GOOD)
    adapter = adapter_for("room", tmp_path)
    assert adapter is not None
    assert adapter.rules == load(tmp_path / "room" / "screens.toml")


def test_without_an_operators_file_the_one_of_the_release_counts(tmp_path: Path) -> None:
    adapter = adapter_for("room", tmp_path)
    assert adapter is not None
    assert adapter.rules == load(SCREENS)
