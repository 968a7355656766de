"""How a feed fares is told at once as long as that changes seldom, and otherwise the latest of it, ever more seldom."""

import asyncio

import pytest

from common.wire.vocabulary import FeedStatus
from tests.waiting import wait_until
from worker.live.changes import AT_ONCE, Change, Changes

CONNECTED, WAITING = Change(FeedStatus.CONNECTED, "", taken=False), Change(FeedStatus.WAITING, "500", taken=False)


def note(changes: Changes, change: Change) -> None:
    changes.note(change.status, change.detail, taken=change.taken)


async def test_what_changes_all_the_time_is_told_of_ever_more_seldom_and_at_last_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.live.changes.PAUSES_S", (0.1, 2.0))
    told: list[Change] = []
    changes = Changes(told.append)
    for _ in range(AT_ONCE):
        note(changes, WAITING)
        note(changes, WAITING)
        note(changes, CONNECTED)
    assert told == [WAITING, CONNECTED] * (AT_ONCE // 2) + [WAITING]
    await wait_until(lambda: told[-1] == CONNECTED)
    begun, loop = len(told), asyncio.get_running_loop()
    until = loop.time() + 1.0
    while loop.time() < until or len(told) == begun:
        note(changes, WAITING)
        note(changes, CONNECTED)
        note(changes, CONNECTED._replace(taken=True))
        await asyncio.sleep(0.005)
    assert begun < len(told) <= begun + 5, "after 0.2, 0.4, 0.8 s"
    await wait_until(lambda: told[-1] == CONNECTED._replace(taken=True))


async def test_a_pause_in_which_nothing_changes_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.live.changes.PAUSES_S", (0.05, 0.05))
    told: list[Change] = []
    changes = Changes(told.append)
    for number in range(AT_ONCE + 1):
        note(changes, WAITING._replace(detail=str(number)))
    await asyncio.sleep(0.15)
    assert len(told) == AT_ONCE + 1
    note(changes, CONNECTED)
    assert told[-1] == CONNECTED, "at once again"


@pytest.mark.parametrize("status", [FeedStatus.REFUSED, FeedStatus.ENDED])
async def test_what_is_final_is_told_in_a_pause_too_and_ends_it(
    status: FeedStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.live.changes.PAUSES_S", (0.5, 0.5))
    told: list[Change] = []
    changes = Changes(told.append)
    for number in range(AT_ONCE + 2):
        note(changes, WAITING._replace(detail=str(number)))
    note(changes, Change(status, "", taken=False))
    assert (len(told), told[-1].status) == (AT_ONCE + 2, status), "one of them was in the pause"
    await asyncio.sleep(0.6)
    assert len(told) == AT_ONCE + 2
