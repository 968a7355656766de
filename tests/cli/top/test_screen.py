from typing import Any

import pytest

from common.config.settings import PoolSettings
from common.jobs.record import BLANK, iso
from common.wire.vocabulary import BotState, VmState, WorkerState
from poolmgr.cli.top.columns import BAD, Facts
from poolmgr.cli.top.lines import Size, draw
from poolmgr.cli.top.screen import Key, Screen, Tab, name_of
from poolmgr.core.requests import DrainRequested, LeaveRequested
from poolmgr.page.outlook import Outlook
from poolmgr.store.reading.sight import FIELDS
from poolmgr.store.reading.views import Standing, VmView

NOW = 1_800_000_000.0
FACTS = Facts(NOW, 2, 12)


def vm(vm_id: str, *, idle: int = 2, state: VmState = VmState.UP, bots: list[str] | None = None) -> VmView:
    workers = dict.fromkeys((str(one) for one in WorkerState), 0) | {"idle": idle}
    return VmView(vm_id, state, workers, bots or [], draining=state is VmState.DRAINING)


def bot(bot_id: str, *, age_s: float = 60.0, state: BotState = BotState.IN_MEETING, **fields: Any) -> dict[str, str]:
    record = {name: str(BLANK.get(name, "")) for name in FIELDS}
    known = {"bot_name": bot_id, "platform": "room", "status": "InMeeting", "created_at": iso(NOW - age_s)}
    return record | known | {"bot_id": bot_id, "state": state} | fields


@pytest.fixture
def screen() -> Screen:
    screen = Screen()
    screen.outlook = Outlook(PoolSettings(min_idle=2))
    screen.page = 10
    screen.outlook.put_standing(Standing("manager-1", 3, 1, 2))
    for one in (vm("vm-b", idle=0), vm("vm-a", bots=["old"]), vm("vm-c", idle=1, state=VmState.SILENT)):
        screen.outlook.put_vm(one)
    screen.outlook.put_bot(bot("young", age_s=5, state=BotState.QUEUED, status="Joining"))
    screen.outlook.put_bot(bot("old", vm_id="vm-a"))
    return screen


def names(screen: Screen) -> list[str]:
    return [name_of(row) for row in screen.rows()]


def press(screen: Screen, *keys: str) -> Any:
    done = [screen.press(key) for key in keys]
    return next((one for one in done if one), None)


def test_vms_stand_by_name_and_bots_the_newest_first(screen: Screen) -> None:
    assert names(screen) == ["vm-a", "vm-b", "vm-c"]
    press(screen, Key.TAB)
    assert names(screen) == ["young", "old"]


def test_each_press_of_s_sorts_by_the_next_column_and_r_turns_the_order_round(screen: Screen) -> None:
    press(screen, "s", "s")
    assert names(screen) == ["vm-a", "vm-c", "vm-b"]  # by idle, the most first
    press(screen, "r")
    assert names(screen) == ["vm-b", "vm-c", "vm-a"]
    for _ in screen.columns():
        press(screen, "s")
    assert names(screen) == ["vm-a", "vm-c", "vm-b"]


def test_every_column_can_be_sorted_by(screen: Screen) -> None:
    for tab in Tab:
        screen.tab = tab
        whole = set(names(screen))
        for _ in screen.columns():
            press(screen, "s")
            assert set(names(screen)) == whole


def test_the_choice_goes_with_its_row_and_stays_within_the_table(screen: Screen) -> None:
    press(screen, Key.DOWN)
    assert screen.chosen[Tab.VMS] == "vm-b"
    screen.outlook.put_vm(vm("vm-0"))
    assert names(screen)[screen.place(screen.rows())] == "vm-b"
    press(screen, Key.LAST, Key.DOWN)
    assert screen.chosen[Tab.VMS] == "vm-c"
    press(screen, Key.PAGE_UP, Key.UP)
    assert screen.chosen[Tab.VMS] == "vm-0"


def test_what_was_asked_about_is_what_is_done_whatever_moved_meanwhile(screen: Screen) -> None:
    press(screen, "d")
    screen.outlook.keep_vms(["vm-b"])
    assert press(screen, "y") == DrainRequested("vm-a")


def test_only_y_confirms(screen: Screen) -> None:
    for key in ("n", Key.ENTER, Key.ESCAPE, "q", "d"):
        assert press(screen, "d", key) is None
        assert screen.said == "nothing was done"
    assert not screen.is_done


def test_a_vm_that_drains_is_taken_back(screen: Screen) -> None:
    screen.outlook.put_vm(vm("vm-a", state=VmState.DRAINING))
    assert press(screen, "d", "y") == DrainRequested("vm-a", draining=False)


def test_a_bot_is_asked_to_leave_unless_it_has_ended(screen: Screen) -> None:
    press(screen, "l")
    assert screen.asked is None
    assert "choose a bot" in screen.said
    press(screen, Key.TAB, Key.LAST)
    assert press(screen, "l", "y") == LeaveRequested("old")
    screen.outlook.put_bot(bot("old", state=BotState.STOPPED, status="Stopped"))
    assert press(screen, "l", "y") is None
    press(screen, "d")
    assert "choose a VM" in screen.said


def test_nothing_is_done_to_nobody() -> None:
    screen = Screen()
    for key in ("l", "d", Key.ENTER, "v", Key.DOWN, Key.TAB, "l", "d", Key.ENTER, "v", Key.UP):
        assert press(screen, key, "y") is None
    assert screen.asked is None


def test_text_is_typed_corrected_kept_and_dropped(screen: Screen) -> None:
    press(screen, "/", "V", "q", Key.RUB_OUT, "m", "-", "b", Key.UP, Key.ENTER)
    assert (screen.text, names(screen)) == ("Vm-b", ["vm-b"])
    assert not screen.is_done
    press(screen, "/", *"x" * 100)
    assert len(screen.text) == 64
    press(screen, Key.ESCAPE)
    assert (screen.text, screen.types) == ("", False)
    assert len(names(screen)) == 3


def test_f_goes_through_the_states_and_back_to_all(screen: Screen) -> None:
    seen: list[list[str]] = []
    for _ in range(len(VmState) + 1):
        press(screen, "f")
        seen.append(names(screen))
    assert [found for found in seen if found] == [["vm-a", "vm-b"], ["vm-c"], ["vm-a", "vm-b", "vm-c"]]


def test_a_vm_opens_its_bots_and_escape_shows_all_again(screen: Screen) -> None:
    press(screen, Key.ENTER)
    assert (screen.tab, screen.vm_id, names(screen)) == (Tab.BOTS, "vm-a", ["old"])
    assert screen.wanted() == ["old"]
    press(screen, Key.ESCAPE)
    assert names(screen) == ["young", "old"]
    press(screen, Key.LAST, "v")
    assert names(screen) == ["old"]
    press(screen, "v")
    assert names(screen) == ["young", "old"]
    screen.vm_id = "gone"
    assert screen.wanted() == []


def test_a_filter_asks_for_bots_that_are_none_of_the_newest(screen: Screen) -> None:
    assert screen.wanted() == []
    press(screen, Key.TAB)
    assert screen.wanted() == []
    press(screen, "/", *"oun", Key.ENTER)
    assert screen.wanted() == ["young"]
    press(screen, Key.ESCAPE, "f", "f")
    assert (screen.state[Tab.BOTS], screen.wanted()) == ("queued", ["young"])


def test_help_is_left_by_any_key(screen: Screen) -> None:
    press(screen, "?")
    assert "take it back" in shown(screen, Size(80, 24))
    press(screen, "q")
    assert not screen.is_done
    press(screen, "q")
    assert screen.is_done


def shown(screen: Screen, size: Size, fault: str = "") -> str:
    return "\n".join("".join(cell.text for cell in line) for line in draw(screen, size, FACTS, fault))


@pytest.mark.parametrize("tab", Tab)
@pytest.mark.parametrize("help", [False, True])
def test_it_fits_into_every_size(tab: Tab, help: bool, screen: Screen) -> None:
    screen.tab, screen.helps = tab, help
    for number in range(60):
        screen.outlook.put_vm(vm(f"vm-{number}" * (number % 9 + 1)))
        screen.outlook.put_bot(bot(f"b{number}" * (number % 9 + 1), bot_name="会議の記録" * (number % 5)))
    for size in (Size(columns, lines) for columns in range(1, 130, 3) for lines in range(1, 40, 3)):
        lines = shown(screen, size).split("\n")
        assert len(lines) <= size.lines
        assert max(map(width, lines)) <= size.columns


def width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def test_nothing_is_cut_of_the_table_in_eighty_columns(screen: Screen) -> None:
    text = shown(screen, Size(80, 24))
    for word in ("VM^", "STATE", "IDLE", "WARMING", "RESERVED", "BUSY", "RETIRING", "WORKERS", "BOTS", "2/12"):
        assert word in text
    assert "led by manager-1, epoch 3" in text
    assert "3 VMs: 2 up, 1 silent" in text
    assert "2 live bots: 1 queued, 1 in_meeting" in text
    screen.tab = Tab.BOTS
    text = shown(screen, Size(80, 24))
    for word in ("AGE", "BOT", "NAME", "PLATFORM", "STATE", "SINCE", "JOIN", "in_meeting"):
        assert word in text


def test_too_few_idle_and_a_fault_are_shown_as_bad(screen: Screen) -> None:
    styles = {cell.text.strip(): cell.style for line in draw(screen, Size(80, 24), FACTS, "cut") for cell in line}
    assert styles["cut"] == styles["0/2"] == BAD


def test_what_was_not_read_yet_is_said() -> None:
    assert "reads what there is" in shown(Screen(), Size(80, 24))
    assert "cut" in shown(Screen(), Size(80, 24), "cut")
    screen = Screen()
    screen.tab = Tab.BOTS
    assert "no bot yet" in shown(screen, Size(80, 24))
    screen.text = "x"
    assert "no row is so" in shown(screen, Size(80, 24))
