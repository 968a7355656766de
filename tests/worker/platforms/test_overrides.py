"""An operator's rules go over those of the release, and a file that changes is followed while a bot is on its way."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Page
from structlog.testing import capture_logs

from common.config.settings import WorkerSettings
from common.wire.messages import BotMoved, BotSaw, Join
from common.wire.vocabulary import BotState, Reason
from tests.waiting import wait_until
from tests.worker.platforms.conftest import Show
from worker.decide.state import SessionSettings, State
from worker.meeting.reports import BotNews
from worker.meeting.session import Context, Session
from worker.platforms.overrides import Overrides, lay_over
from worker.platforms.page import PageAdapter
from worker.platforms.rules import BadRulesError, load

SOURCE: Final = """
ignore = [".chat"]
[[screen]]
name = "ended"
rule = "end"
visible = ["#end"]
[[screen]]
name = "in_meeting"
rule = "call"
visible = ["#call"]
[[screen]]
name = "name_prompt"
rule = "prompt"
visible = ["#prompt"]
[[popup]]
rule = "tip"
visible = [".tip"]
click = [".tip"]
[actions]
join = ["#join"]
leave = ["#leave"]
"""


class Folder:
    """An adapter and the folder of its overrides."""

    def __init__(self, path: Path, source: str = SOURCE) -> None:
        self.source = path / "screens.toml"
        self.source.write_text(source)
        self.folder = path / "adapters"
        self.folder.mkdir()
        self.adapter = PageAdapter("x", self.source, lambda join: join.meeting_url)
        self.overrides = Overrides(str(self.folder), {"x": self.adapter})
        self._times = 0

    @property
    def file(self) -> Path:
        return self.folder / "x.toml"

    def write(self, text: str) -> Path:
        self._times += 1
        self.file.write_text(text)
        os.utime(self.file, (self._times, self._times))  # two changes within one tick of the disk's clock differ, too
        return self.file

    def reload(self) -> None:
        """A change counts when it is the same at two looks."""
        self.overrides.reload()
        self.overrides.reload()

    def rules(self) -> list[str]:
        return [screen.rule for screen in self.adapter.rules.screen]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", ["end", "call", "prompt"]),
        ('[[screen]]\nname = "in_meeting"\nrule = "call"\nvisible = ["#new"]', ["end", "call", "prompt"]),
        ('[[screen]]\nname = "full"\nrule = "new"\nvisible = ["#new"]', ["new", "end", "call", "prompt"]),
        (
            '[[screen]]\nname = "full"\nrule = "new"\nvisible = ["#new"]\nbefore = "call"',
            ["end", "new", "call", "prompt"],
        ),
        ('[[screen]]\nname = "ended"\nrule = "end"\nvisible = ["#new"]\nbefore = "prompt"', ["call", "end", "prompt"]),
        (
            '[[screen]]\nname = "full"\nrule = "a"\nurl = "a"\n[[screen]]\nname = "full"\nrule = "b"\nurl = "b"',
            ["a", "b", "end", "call", "prompt"],
        ),
        ('remove = ["end", "tip"]', ["call", "prompt"]),
    ],
)
def test_a_rule_replaces_the_one_of_its_name_or_comes_where_it_is_told(
    folder: Folder, text: str, rules: list[str]
) -> None:
    assert [screen.rule for screen in lay_over(folder.source, folder.write(text)).screen] == rules


def test_keys_of_actions_readings_and_places_replace_those_that_are_there(folder: Folder) -> None:
    text = """
      ignore = [".talk"]
      facts = "() => ({})"
      actions = { join = ["#other"] }
      readings = { participants = [{ each = "li" }] }
      places = { dialog = [".modal"] }
      [[popup]]
      rule = "tip"
      visible = [".hint"]
      click = [".hint"]
    """
    rules = lay_over(folder.source, folder.write(text))
    assert (rules.actions.join, rules.actions.leave) == (["#other"], ["#leave"])
    assert (rules.ignore, rules.places, rules.facts) == ([".talk"], {"dialog": [".modal"]}, "() => ({})")
    assert rules.readings.participants
    assert [popup.visible for popup in rules.popup] == [[".hint"]]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('remove = ["ends"]', "remove[0]: there is no rule 'ends' to remove"),
        ('remove = ["call"]', "screen: no rule for in_meeting"),
        (
            '[[screen]]\nname = "full"\nrule = "n"\nvisible = ["#n"]\nbefore = "m"',
            "screen[0].before: there is no other rule 'm'",
        ),
        (
            '[[screen]]\nname = "full"\nrule = "n"\nvisibel = ["#n"]',
            "screen[0]: Object contains unknown field `visibel`",
        ),
        ("[actions]\njoin = 7", "actions.join: Expected `array`, got `int`"),
        ("[action]", "file: Object contains unknown field `action`"),
        ("x =", "is not TOML: "),
    ],
)
def test_a_fault_names_the_operators_file_and_the_key(folder: Folder, text: str, fault: str) -> None:
    path = folder.write(text)
    with pytest.raises(BadRulesError) as caught:
        folder.overrides.load()
    assert caught.value.path == path
    assert caught.value.fault.startswith(fault)


def test_a_file_for_a_platform_that_nobody_joins_is_a_fault(folder: Folder) -> None:
    (folder.folder / "y.toml").write_text("")
    with pytest.raises(BadRulesError, match="there is no adapter for 'y'"):
        folder.overrides.load()


def test_an_adapter_that_is_no_page_adapter_takes_none(folder: Folder) -> None:
    class Own:
        platform = "x"
        rules = load(folder.source)

    folder.write("")
    with pytest.raises(BadRulesError, match="takes no overrides"):
        Overrides(str(folder.folder), {"x": Own()}).load()  # pyright: ignore[reportArgumentType]


def test_a_folder_that_is_not_there_is_a_fault_at_start_and_none_without_the_setting(tmp_path: Path) -> None:
    with pytest.raises(BadRulesError, match=r"worker\.adapters_dir: No such file"):
        Overrides(str(tmp_path / "none"), {}).load()
    assert Overrides("", {}).load() == {}


def test_a_file_that_changes_is_read_again_and_a_bad_one_is_told_once(folder: Folder) -> None:
    folder.write('remove = ["end"]')
    folder.overrides.load()
    assert folder.rules() == ["call", "prompt"]
    with capture_logs() as logs:
        folder.reload()
        folder.write('[[screen]]\nname = "full"\nrule = "new"\nvisible = ["#new"]')
        folder.reload()
        folder.write("x =")
        for _ in range(2):
            folder.reload()
        assert folder.rules() == ["new", "end", "call", "prompt"]
        folder.file.unlink()
        folder.reload()
        folder.folder.rmdir()
        for _ in range(2):
            folder.reload()
    assert folder.rules() == ["end", "call", "prompt"]
    told = [(entry["event"], entry.get("changed"), entry.get("path")) for entry in logs]
    assert told == [
        ("adapter_rules_reloaded", 2, None),
        ("adapter_rules_bad", None, str(folder.file)),
        ("adapter_rules_reloaded", 1, None),
        ("adapter_rules_bad", None, str(folder.folder)),
    ]


def test_a_file_that_is_written_in_pieces_or_put_in_anew_counts_when_it_stands(folder: Folder) -> None:
    folder.write('remove = ["end"]')
    folder.overrides.load()
    folder.write('[[screen]]\nname = "full"\nrule = "new"\nvisible = ["#new"]')
    folder.overrides.reload()
    folder.file.unlink()
    folder.overrides.reload()
    assert folder.rules() == ["call", "prompt"]
    folder.write('remove = ["end", "tip"]\n[[screen]]\nname = "full"\nrule = "new"\nvisible = ["#new"]')
    folder.reload()
    assert folder.rules() == ["new", "call", "prompt"]


def _nothing_there(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


ODD: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "pipe": (os.mkfifo, "is no file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is no file"),
    "folder": (Path.mkdir, "is no file"),
    "loop": (lambda path: path.symlink_to(path), "No such file or directory"),
    "nothing there": (_nothing_there, "No such file or directory"),
    "huge": (lambda path: path.write_text("#" * 262_145), "is larger than 256 KiB"),
    "nested": (lambda path: path.write_text("x = " + "[" * 100_000), "is nested too deep"),
}


@pytest.mark.parametrize(("put", "fault"), ODD.values(), ids=ODD)
@pytest.mark.timeout(120)
def test_what_is_no_file_of_rules_keeps_nobody_waiting_and_no_other_file_from_counting(
    folder: Folder, put: Callable[[Path], object], fault: str
) -> None:
    adapter = PageAdapter("y", folder.source, lambda join: join.meeting_url)
    overrides = Overrides(str(folder.folder), {"x": folder.adapter, "y": adapter})
    overrides.load()
    put(folder.file)
    (folder.folder / "y.toml").write_text('remove = ["end"]')
    with capture_logs() as logs:
        for _ in range(3):
            overrides.reload()
    assert [(log.get("path"), log.get("fault")) for log in logs] == [(str(folder.file), fault), (None, None)]
    assert [screen.rule for screen in adapter.rules.screen] == ["call", "prompt"]


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_a_selector_that_the_page_broke_is_mended_while_the_bot_is_on_its_way(
    page: Page, show: Show, tmp_path: Path
) -> None:
    """The page's new release calls its button otherwise; the bot stands before it, and is in once the file says so."""
    await show("about:blank", "")
    page_html = """<!doctype html><div id=prompt>.<button id=enter onclick="prompt_.hidden = true; room.hidden = false">
      Enter</button></div>
      <div id=room hidden>.<button id=leave onclick="room.hidden = true; end.hidden = false">Leave</button></div>
      <div id=end hidden>Over</div><script>const prompt_ = document.getElementById("prompt");</script>"""
    await page.route("**/1", lambda route: route.fulfill(body=page_html, content_type="text/html"))
    folder = Folder(tmp_path)
    seen: list[BotNews] = []

    def keep(_state: State, events: Sequence[BotNews]) -> None:
        seen.extend(events)

    async def answers() -> bool:
        return True

    def states() -> list[BotState]:
        return [event.state for event in seen if isinstance(event, BotMoved)]

    job = Join("w-1", "b-1", 1, "x", "https://meeting.example/1", "Bot")
    session = Session(page, job, folder.adapter, Context(SessionSettings.of(WorkerSettings()), "vm-1", keep, answers))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(session.run(), name="session")
        await wait_until(lambda: any(isinstance(each, BotSaw) and each.did for each in seen))
        assert BotState.IN_MEETING not in states()
        folder.write(
            'actions = { join = ["#enter"] }\n[[screen]]\nname = "in_meeting"\nrule = "room"\nvisible = ["#room"]'
        )
        folder.reload()
        await wait_until(lambda: BotState.IN_MEETING in states())
        session.leave(Reason.USER_REQUESTED)
    assert running.result().reason is Reason.USER_REQUESTED
    assert {each.rule for each in seen if isinstance(each, BotMoved) and each.state is BotState.IN_MEETING} == {"room"}
