"""How often events are read: seldom where nobody is the worse for it."""

import pytest

from common.wire.messages import Event, Heartbeat, WorkerGone
from common.wire.vocabulary import GoneCause
from poolmgr.loops.events import rest_s

BEAT = Heartbeat("vm", "s", 1.0, {})
GONE = WorkerGone("vm", "w1", 2.0, GoneCause.SPENT)


@pytest.mark.parametrize(
    ("events", "waits", "longest_s"),
    [([BEAT, BEAT], False, 0.05), ([BEAT, BEAT], True, 0.005), ([BEAT, GONE], False, 0.005), ([GONE], True, 0.005)],
)
def test_what_somebody_waits_for_is_read_soon(events: list[Event], waits: bool, longest_s: float) -> None:
    assert 0 < rest_s(events, waits=waits) <= longest_s


def test_heartbeats_alone_are_read_in_larger_batches() -> None:
    assert rest_s([BEAT], waits=False) > rest_s([BEAT], waits=True)
