"""The agent's spans, of orders and events."""

from common.wire.messages import BotEnded, BotMoved, BotSaw, Join, JoinRefused, Leave, WorkerWarm
from common.wire.trace import Trace
from common.wire.vocabulary import BotState, Reason, RefusalCause
from tests.collecting import Kept
from worker import traces
from worker.traces import AgentTraces

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
WHO = ("vm1", "w1", "b1", 1)


def join(bot_id: str = "b1") -> Join:
    return Join("w1", bot_id, 1, "room", "http://r", "Bot", traceparent=GIVEN)


def test_a_bot_that_joins_and_ends() -> None:
    kept = Kept()
    agent = AgentTraces(kept)
    agent.ordered(join())
    agent.ordered(Leave("w1", "b1", 1))
    for event in (
        BotSaw(*WHO, 10.0, "name_prompt", "form"),
        BotSaw(*WHO, 11.0, "name_prompt", "form", "fill_name_and_join"),
        BotMoved(*WHO, 11.0, BotState.JOINING),
        BotSaw(*WHO, 12.0, "lobby", "wait"),
        BotSaw(*WHO, 20.0, "in_meeting", "call"),
        BotMoved(*WHO, 20.0, BotState.IN_MEETING),
        BotEnded(*WHO, 50.0, Reason.MEETING_ENDED),
        BotEnded(*WHO, 51.0, Reason.MEETING_ENDED),
    ):
        agent.reported(event)
    job = Trace.of_bot("b1", GIVEN)
    at = {span.name: span for span in kept.spans}
    assert [span.name for span in kept.spans] == ["screen name_prompt", "screen lobby", "join", "screen in_meeting"]
    assert at["join"].trace == job.below("join", 1)
    assert at["join"].end == 20.0
    assert {at[name].trace.parent_id for name in ("screen name_prompt", "screen lobby")} == {at["join"].trace.span_id}
    assert at["screen in_meeting"].trace.parent_id == job.span_id
    assert [(at[name].start, at[name].end) for name in ("screen lobby", "screen in_meeting")] == [(12, 20), (20, 50)]
    assert at["screen lobby"].attributes["rule"] == "wait"
    assert [span.error for span in kept.spans] == ["", "", "", ""]


def test_a_join_that_came_to_nothing_says_so() -> None:
    kept = Kept()
    agent = AgentTraces(kept)
    agent.ordered(join())
    agent.reported(BotEnded(*WHO, 9e9, Reason.BROWSER_CRASHED))
    agent.ordered(join())
    agent.reported(JoinRefused(*WHO, 9e9, RefusalCause.LOW_MEMORY))
    assert [(span.name, span.error) for span in kept.spans] == [("join", "browser_crashed"), ("join", "low_memory")]
    assert kept.spans[0].attributes["reason"] == "browser_crashed"


def test_a_warm_up_has_its_steps_in_it() -> None:
    kept = Kept()
    AgentTraces(kept).warmed(WorkerWarm("vm1", "w1", 100.0, 2.0), {"launch": 1.0, "connect": 0.5, "page": 0.5})
    assert [(span.name, span.start, span.end) for span in kept.spans] == [
        ("launch", 98.0, 99.0), ("connect", 99.0, 99.5), ("page", 99.5, 100.0), ("warm", 98.0, 100.0),
    ]  # fmt: skip
    assert {span.trace.parent_id for span in kept.spans[:3]} == {kept.spans[3].trace.span_id}


def test_what_is_followed_at_a_time_is_bounded_and_nothing_where_nothing_is_exported() -> None:
    kept = Kept()
    agent = AgentTraces(kept)
    for number in range(traces._MOST + 1):  # pyright: ignore[reportPrivateUsage]
        agent.ordered(join(f"b{number}"))
    agent.reported(BotEnded("vm1", "w1", "b0", 1, 9e9, Reason.MEETING_ENDED))
    assert kept.spans == []
    agent.reported(BotEnded("vm1", "w1", "b1", 1, 9e9, Reason.MEETING_ENDED))
    assert len(kept.spans) == 1
    kept.on = False
    agent.ordered(join("late"))
    agent.reported(BotEnded("vm1", "w1", "late", 1, 9e9, Reason.MEETING_ENDED))
    assert len(kept.spans) == 1
