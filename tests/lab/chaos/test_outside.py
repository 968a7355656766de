"""What explains itself: an agent that ended and was away for longer than the manager waits."""

import pytest

from lab.chaos.faults import EXPLAINS_FOR_S, LOST, Excuse
from lab.chaos.outside import long_away
from lab.chaos.stage import LOST_AFTER_S

LATE = 100.5 + LOST_AFTER_S
NOW = 200.0


@pytest.mark.parametrize(
    ("ends", "beats", "excuses"),
    [
        ([], [100.0, LATE], []),
        ([100.5], [100.0, 101.5], []),
        ([100.5], [100.0, LATE], [(100.0, LATE)]),
        ([100.5], [100.0], [(100.0, NOW)]),
        ([100.5], [], [(100.5, NOW)]),
        ([100.5, 110.5], [100.0, 101.5, 110.0, 120.0], [(110.0, 120.0)]),
    ],
    ids=["silent without an end", "soon back", "late", "never back", "never heard", "the second time"],
)
def test_an_agent_that_was_long_in_coming_back_explains_what_became_of_its_bots(
    ends: list[float], beats: list[float], excuses: list[tuple[float, float]]
) -> None:
    expected = [Excuse("vm-1", LOST, begin, end + EXPLAINS_FOR_S) for begin, end in excuses]
    assert list(long_away("vm-1", ends, beats, NOW)) == expected
