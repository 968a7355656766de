"""The manager's spans, of durable decisions, and what the log says of a bot's trace."""

from typing import Any

import msgspec

from common.jobs.outgoing import Delivery
from common.webhooks.outcome import Outcome
from common.wire.messages import Join
from common.wire.trace import Trace
from common.wire.vocabulary import BotState, Reason, WorkerState
from poolmgr.core.decisions import Accept, Assign, End, KeepWorker, Move
from poolmgr.observe.traces import Traces
from tests.collecting import Kept
from tests.core.builders import job

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def accept(bot_id: str, **more: Any) -> Accept:
    return Accept(bot_id, msgspec.structs.replace(job(), **more), BotState.QUEUED, 100.0, 1)


def test_a_bots_life_is_a_span_below_that_of_its_client() -> None:
    kept = Kept()
    traces = Traces(kept)
    of = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
    assert traces.decided(accept("b1", traceparent=GIVEN), 100.0) == of
    order = Assign("vm1", Join("w1", "b1", 1, "room", "http://r", "Bot"), born=0.0, warm=True, waited_s=0.5)
    assert traces.decided(order, 100.5) == of
    assert traces.decided(Move("b1", 1, BotState.JOINING, 101.0), 101.0) == of
    assert traces.decided(KeepWorker("vm1", "w1", WorkerState.BUSY, 0.0, 0.0), 101.0) == {}
    assert traces.decided(End("b1", 1, Reason.BROWSER_CRASHED, at=130.0), 131.0) == of
    assert traces.decided(End("b1", 1, Reason.BROWSER_CRASHED, at=130.0), 131.0) == {}
    dispatch, whole = kept.spans
    assert (dispatch.name, dispatch.start, dispatch.end) == ("dispatch", 100.0, 100.5)
    assert dispatch.trace.parent_id == whole.trace.span_id
    assert (whole.name, whole.start, whole.end, whole.error) == ("job", 100.0, 130.0, "browser_crashed")
    assert whole.trace == Trace.of_bot("b1", GIVEN)
    assert whole.attributes["whose"] == "us"


def test_a_bot_that_another_manager_accepted_has_the_same_span() -> None:
    kept = Kept()
    traces = Traces(kept)
    traces.begin([])
    traces.decided(accept("b1"), 100.0)
    traces.decided(End("b1", 0, Reason.MEETING_ENDED), 105.0)
    [span] = kept.spans
    assert (span.trace, span.end, span.error) == (Trace.of_bot("b1"), 105.0, "")


def test_without_spans_the_log_says_only_what_a_client_gave() -> None:
    kept = Kept()
    kept.on = False
    traces = Traces(kept)
    assert traces.decided(accept("b1"), 100.0) == {}
    assert traces.decided(accept("b2", traceparent=GIVEN), 100.0) != {}
    assert traces.webhook(Delivery("e", "b2", "bot.joining", "http://r", "{}", 1.0, GIVEN), 1) is None


def test_each_attempt_of_a_webhook_is_a_span() -> None:
    kept = Kept()
    traces = Traces(kept)
    delivery = Delivery("evt", "b1", "bot.joining", "http://r", "{}", 1.0, GIVEN)
    for number, outcome in ((1, Outcome(500, None, 0.0, 0.25)), (2, Outcome(200, None, 0.0, 0.25))):
        trace = traces.webhook(delivery, number)
        assert trace
        assert trace.parent_id == Trace.of_bot("b1", GIVEN).span_id
        traces.attempted(delivery, trace, outcome, number, 10.0)
    failed, delivered = kept.spans
    assert (failed.start, failed.end, failed.error, failed.attributes["outcome"]) == (9.75, 10.0, "500", "500")
    assert (delivered.error, delivered.attributes["attempt"]) == ("", 2)
    assert failed.trace.span_id != delivered.trace.span_id
