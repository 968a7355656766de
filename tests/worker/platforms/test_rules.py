"""What a file of rules may say, and what is said about one that is wrong."""

from pathlib import Path

import pytest

from worker.decide.words import Screen
from worker.platforms import adapter_for, adapters, built_in
from worker.platforms.rules import BadRulesError, fold, load

GOOD = """
[places]
dialog = ["[role=dialog]"]

[[screen]]
name = "in_meeting"
rule = "toolbar"
visible = ["#toolbar"]

[[screen]]
name = "name_prompt"
rule = "prompt"
within = "dialog"
text = ["Your name"]

[[popup]]
rule = "tip"
label = ["Got it"]
click = [{ label = ["Got it"] }]

[actions]
name = ["#name"]
join = ["#join", { label = ["Join"], how = "dom" }]
leave = ["#leave", { press = "Control+Alt+q" }]
cancel = ["#cancel"]
"""


def write(folder: Path, text: str) -> Path:
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
    assert (rules.actions.chat, rules.readings.people, rules.readings.chat) == ([], None, None)


TOOLBAR = 'visible = ["#toolbar"]'
CANCEL = 'cancel = ["#cancel"]'


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ('name = "in_meeting"', 'name = "inmeeting"', "screen[0].name: Invalid enum value 'inmeeting'"),
        ('name = "in_meeting"', 'name = "unknown"', "screen[0].name: unknown is what remains when no rule matches"),
        ('rule = "prompt"', 'rule = "toolbar"', "screen[1].rule: 'toolbar' is the name of an earlier rule"),
        ('rule = "tip"', 'rule = "toolbar"', "popup[0].rule: 'toolbar' is the name of an earlier rule"),
        ('rule = "prompt"', 'rule = "a b"', "screen[1].rule: Expected `str` matching regex"),
        (TOOLBAR, "", "screen[0]: says nothing of what the page shows"),
        (TOOLBAR, 'says = ["Call ended"]', "screen[0].says: needs to know where: name it in within"),
        (TOOLBAR, TOOLBAR + "\nshown = 1", "screen[0]: Object contains unknown field `shown`"),
        (TOOLBAR, 'text = ["x"]\nfilled = true', "screen[0]: filled and size are of an element"),
        (TOOLBAR, 'unless = ["prompts"]\n' + TOOLBAR, "screen[0].unless: there is no screen with the rule 'prompts'"),
        (TOOLBAR, "url = '('", "screen[0].url: is no regular expression: "),
        (TOOLBAR, "url = '((a|b+)x)*$'", "screen[0].url: a repetition within a repetition"),
        (TOOLBAR, "url_not = '(a{2,}|b)+'", "screen[0].url_not: a repetition within a repetition"),
        (TOOLBAR, 'visible = ["#toolbar["]', "screen[0].visible[0]: '#toolbar[' is no CSS selector"),
        (TOOLBAR, "visible = ['#a:has([b=\"x])']", "screen[0].visible[0]: '#a:has([b=\"x])' is no CSS selector"),
        ('within = "dialog"', 'within = "dialogue"', "screen[1].within: there is no 'dialogue' in [places]"),
        ('["[role=dialog]"]', '["[role=dialog"]', "places.dialog[0]: '[role=dialog' is no CSS selector"),
        ('join = ["#join"', 'join = ["#join)"', "actions.join[0]: '#join)' is no CSS selector"),
        ('how = "dom"', 'how = "kick"', "actions.join[1].how: Invalid enum value 'kick'"),
        ('leave = ["#leave", { press = "Control+Alt+q" }]', "", "actions.leave: is missing"),
        ('"Control+Alt+q"', '"Enter"', "actions.leave: Enter may hit what happens to be the default"),
        ('"Control+Alt+q"', '"Delete"', "actions.leave[1].press: Expected `str` matching regex"),
        (CANCEL, CANCEL + "\n[reading]", "file: Object contains unknown field `reading`"),
        (CANCEL, CANCEL + '\n[readings.people]\neach = "li"', "readings.people: Object missing"),
        (CANCEL, CANCEL + '\n[readings.chat]\neach = ""', "readings.chat.each: Expected `str`"),
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


def test_texts_are_compared_without_spaces_case_and_kinds_of_apostrophe() -> None:
    assert (
        fold(" You\u2019re\n\u200b in\u00a0the LOBBY\u2026 ") == fold("you're in the lobby...") == "you'reinthelobby..."
    )


def test_the_room_is_known_with_every_screen_it_can_show() -> None:
    room = adapter_for("room")
    assert room
    shown = {
        "in_meeting",
        "name_prompt",
        "waiting_room",
        "denied",
        "removed",
        "ended",
        "left",
        "full",
        "connection_lost",
    }
    assert {screen.name.value for screen in room.rules.screen} == shown


@pytest.mark.parametrize("platform", ["google_meet", "zoom", "teams", "jitsi"])
def test_each_platform_has_a_way_in_and_out_and_its_screens(platform: str) -> None:
    adapter = adapter_for(platform)
    assert adapter
    assert adapter.platform == platform
    actions, screens = adapter.rules.actions, {screen.name for screen in adapter.rules.screen}
    assert all((actions.name, actions.join, actions.cancel, actions.leave, actions.chat, actions.send))
    assert screens >= {
        *(Screen.NAME_PROMPT, Screen.WAITING_ROOM, Screen.WAITING_FOR_HOST, Screen.IN_MEETING),
        *(Screen.DENIED, Screen.REMOVED, Screen.ENDED, Screen.LEFT, Screen.FULL, Screen.SIGN_IN),
    }
    prompts = (Screen.LAUNCHER, actions.continue_), (Screen.PASSCODE_PROMPT, actions.passcode)
    assert all(targets for screen, targets in prompts if screen in screens)


def test_every_end_that_a_page_can_show_is_shown_by_some_platform() -> None:
    shown = {screen.name for adapter in built_in().values() for screen in adapter.rules.screen}
    of_the_engine = {Screen.UNKNOWN, Screen.BLANK, Screen.FAILED, Screen.BREAKOUT, Screen.LOBBY_AGAIN}
    assert shown == set(Screen) - of_the_engine


def test_a_platform_nobody_wrote_is_none() -> None:
    assert adapter_for("webex") is None
    assert set(adapters()) == {"google_meet", "zoom", "teams", "jitsi", "room"}
