"""What explains itself: an agent that ended and was away for longer than the manager waits, or was not let run for so
long. And what is known of a job that was rejected.
"""

import pytest

from lab.chaos.faults.catalogue import EXPLAINS_FOR_S, LOST, Excuse
from lab.chaos.judging.outside import Dead, dead_job, long_away, long_starved
from lab.chaos.system.stage import LOST_AFTER_S

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


@pytest.mark.parametrize(
    ("beats", "starved_s", "excuses"),
    [
        ([100.0, 101.0], 0.9, []),
        ([100.0, LATE], 0.5, []),
        ([100.0, LATE], 3.0, [(100.0, LATE)]),
        ([90.0, 100.0, 100.2], 3.0, [(90.0, 100.0)]),
    ],
    ids=["heard of in time", "by its own doing", "not let run", "once of two times"],
)
def test_an_agent_that_the_machine_did_not_let_run_explains_what_became_of_its_bots(
    beats: list[float], starved_s: float, excuses: list[tuple[float, float]]
) -> None:
    expected = [Excuse("vm-1", LOST, begin, end + EXPLAINS_FOR_S) for begin, end in excuses]
    assert list(long_starved("vm-1", beats, lambda _begin, _end: starved_s)) == expected


@pytest.mark.parametrize(
    ("payload", "tag", "mark"),
    [
        ('{"meeting_link": "http://h/r/chaos?tag=7.1&lobby_s=0"}', "7.1", ""),
        ("{bad-7.2", "", "bad-7.2"),
        ('{"meeting_link": "https://evil.example/bad-7.12", "x": 1}', "", "bad-7.12"),
    ],
)
def test_a_rejected_job_is_known_by_its_tag_or_its_mark(payload: str, tag: str, mark: str) -> None:
    assert dead_job({"reason": "r", "payload": payload}) == Dead("r", "", tag, mark)


def test_a_job_of_a_flood_is_nobodys() -> None:
    assert dead_job({"reason": "r", "payload": '{"meeting_link": "http://h/r/chaos"}'}) is None
