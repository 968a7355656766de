"""Traces as the specification has them: https://www.w3.org/TR/trace-context/."""

import pytest

from common.wire import trace
from common.wire.trace import Trace

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OF = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (GIVEN, OF),
        (f" {GIVEN}\t", OF),
        (f"{GIVEN[:-2]}00", OF._replace(sampled=False)),
        (f"{GIVEN[:-2]}fb", OF),
        (f"cc{GIVEN[2:]}-what-the-future-will-be-like", OF),
        (f"cc{GIVEN[2:]}.what-the-future-will-be-like", None),
        (f"{GIVEN}-what-the-future-will-be-like", None),
        (f"ff{GIVEN[2:]}", None),
        (GIVEN.upper(), None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01", None),
        (GIVEN[:-1], None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_or_ignored(text: str, found: Trace | None) -> None:
    assert trace.read(text) == found


def test_the_spans_of_a_bot_follow_from_its_id_and_from_what_its_client_said() -> None:
    bot = Trace.of_bot("b1", GIVEN)
    assert (bot.trace_id, bot.parent_id, bot.sampled) == (OF.trace_id, OF.span_id, True)
    assert bot == Trace.of_bot("b1", GIVEN)
    assert trace.read(bot.traceparent) == bot._replace(parent_id="")
    alone, other = Trace.of_bot("b1"), Trace.of_bot("b2")
    assert (alone.parent_id, len(alone.trace_id), len(alone.span_id)) == ("", 32, 16)
    assert alone.trace_id != other.trace_id
    join = bot.below("join", 1)
    assert (join.trace_id, join.parent_id) == (bot.trace_id, bot.span_id)
    assert len({join.span_id, bot.below("join", 2).span_id, bot.span_id}) == 3
    assert not Trace.of_bot("b1", f"{GIVEN[:-2]}00").below("join", 1).sampled
    assert Trace.of_bot("b1", f"{GIVEN[:-2]}00").traceparent.endswith("-00")


def test_a_workers_warm_up_is_a_trace_of_its_own() -> None:
    assert Trace.of_worker("w1").trace_id != Trace.of_worker("w2").trace_id
    assert Trace.of_worker("w1").parent_id == ""


def test_no_id_is_all_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    class Zeros:
        def __init__(self, _data: bytes) -> None: ...

        def hexdigest(self) -> str:
            return "0" * 64

    monkeypatch.setattr("hashlib.sha256", Zeros)
    assert Trace.of_bot("b1")[:2] == (f"{'0' * 31}1", f"{'0' * 15}1")
