"""When all is warm, and what is said until then."""

from itertools import pairwise

import pytest

from common.config.settings import PoolSettings
from common.wire.messages import BotEnded, BotMoved, BotVitals, Event, Heartbeat, WorkerGone, WorkerReport, WorkerWarm
from common.wire.vocabulary import BotState, GoneCause, Reason, WorkerState
from poolmgr.one_machine.news import Ready, Warming
from poolmgr.one_machine.warmth import PATIENCE_S, PROGRESS_EVERY_S, Browsers, Warmth, after

IDLE, WARMING = WorkerReport(WorkerState.IDLE), WorkerReport(WorkerState.WARMING)
BUSY, RETIRING = WorkerReport(WorkerState.BUSY, "bot-1"), WorkerReport(WorkerState.RETIRING)
POOL = PoolSettings(min_idle=2, min_idle_display=1, max_workers=3)


def owns(*workers: WorkerReport, room: int = 5) -> Browsers:
    return Browsers({f"w-{number}": worker for number, worker in enumerate(workers)}, room)


@pytest.mark.parametrize(
    ("event", "then"),
    [
        (WorkerWarm("vm", "w-1", 1.0, 0.5), owns(BUSY, IDLE)),
        (BotMoved("vm", "w-1", "bot-1", 1, 1.0, BotState.JOINING), owns(BUSY, BUSY)),
        (BotEnded("vm", "w-0", "bot-1", 1, 1.0, Reason.MEETING_ENDED), owns(RETIRING, WARMING)),
        (WorkerGone("vm", "w-1", 1.0, GoneCause.SPENT), owns(BUSY)),
        (BotVitals("vm", "w-0", "bot-1", 1, 1.0), owns(BUSY, WARMING)),
        (WorkerGone("vm", "nobody", 1.0, GoneCause.SPENT), owns(BUSY, WARMING)),
        (Heartbeat("vm", "session", 1.0, {"w-7": IDLE}, room=3), Browsers({"w-7": IDLE}, 3)),
        (Heartbeat("vm", "session", 1.0, {}, room=3, display_room=0), Browsers({}, 3, displays=True)),
    ],
)
def test_each_event_of_the_agent_changes_what_it_owns(event: Event, then: Browsers) -> None:
    assert after(owns(BUSY, WARMING), event) == then


def test_nothing_is_known_of_an_agent_before_its_first_heartbeat() -> None:
    assert after(None, WorkerWarm("vm", "w-1", 1.0, 0.5)) is None
    assert after(None, Heartbeat("vm", "session", 1.0, {"w-1": BUSY}, room=3)) == Browsers({"w-1": BUSY}, 3)


@pytest.mark.parametrize(
    ("browsers", "after_s", "said"),
    [
        (owns(IDLE, IDLE), 1.9, Ready(2, 2, 0, 1.9)),
        (owns(IDLE, WARMING), 1.9, None),
        (owns(IDLE, IDLE, BUSY), 1.9, Ready(2, 2, 1, 1.9)),
        (owns(BUSY, BUSY, IDLE), 1.9, Ready(1, 1, 2, 1.9)),  # more than three there may not be
        (owns(BUSY, BUSY, BUSY), 1.9, Ready(0, 0, 3, 1.9)),
        (owns(IDLE, room=0), 1.0, None),  # it may be about to begin
        (owns(IDLE, room=0), PATIENCE_S + 1.0, Ready(1, 2, 0, PATIENCE_S + 1.0)),  # there is no memory for more
        (owns(IDLE, WARMING, room=0), 9.0, Warming(1, 2, 9.0)),
        (None, 9.0, Warming(0, 2, 9.0)),
        (owns(IDLE, IDLE)._replace(displays=True), 1.9, None),  # one with a display is still to come
        (owns(IDLE, IDLE, IDLE)._replace(displays=True), 1.9, Ready(3, 3, 0, 1.9)),
    ],
)
def test_it_is_ready_when_as_many_are_idle_as_there_can_be(
    browsers: Browsers | None, after_s: float, said: Ready | Warming | None
) -> None:
    assert Warmth(POOL).look(browsers, works=True, after_s=after_s) == said


def test_it_is_not_ready_while_a_part_does_not_work() -> None:
    assert Warmth(POOL).look(owns(IDLE, IDLE), works=False, after_s=1.0) is None


def test_ready_is_said_once_and_until_then_how_far_it_is_now_and_then() -> None:
    warmth = Warmth(POOL)
    times = [number * 0.25 for number in range(100)]
    said = [warmth.look(owns(IDLE), works=True, after_s=at) for at in times]
    told = [what.after_s for what in said if what]
    assert all(later - earlier >= PROGRESS_EVERY_S for earlier, later in pairwise(told))
    assert len(told) == 4
    assert warmth.look(owns(IDLE, IDLE), works=True, after_s=30.0) == Ready(2, 2, 0, 30.0)
    assert warmth.look(owns(IDLE), works=True, after_s=60.0) is None
