"""A recorder that gives nothing of a kind is noticed, and not before it may just be late."""

import pytest

from common.wire.manifest import Kind
from worker.capture.stall import STALLED_AFTER_S, StallDetector


@pytest.mark.parametrize(
    ("looks", "late"),
    [
        ([], None),
        ([(STALLED_AFTER_S - 0.1, ())], None),
        ([(STALLED_AFTER_S, ())], "audio"),
        ([(5.0, ("audio",)), (STALLED_AFTER_S, ())], "video"),
        ([(5.0, ("audio", "video")), (STALLED_AFTER_S, ())], None),
        ([(5.0, ("audio", "video")), (5.0 + STALLED_AFTER_S, ("video",))], "audio"),
    ],
)
def test_what_gives_nothing_for_too_long_is_named(
    looks: list[tuple[float, tuple[Kind, ...]]], late: Kind | None
) -> None:
    detector = StallDetector(("audio", "video"))
    detector.reset(100.0)
    found = [detector.stalled(100.0 + after_s, received) for after_s, received in looks]
    assert found[-1:] == ([late] if looks else [])
    assert not any(found[:-1])
