"""Who is marked as speaking, look by look, and whose turns these were."""

from collections.abc import Sequence

import pytest

from common.wire.minutes import Turn
from worker.transcript.turns import MOST_TURNS, LatestTurns, Turns


def follow(marks: Sequence[str], step_s: float = 0.5) -> list[tuple[str, float, float]]:
    turns, found = Turns(), list[Turn]()
    for place, name in enumerate(marks):
        found += turns.look(place * step_s, f"id of {name}", name)
    return [(turn.speaker, turn.began_at, turn.ended_at) for turn in found + turns.end()]


@pytest.mark.parametrize(
    ("marks", "turns"),
    [
        (["Ann"] * 5, [("Ann", 0.0, 2.0)]),
        (["Ann", "Ann", "", "", "Ann", "Ann"], [("Ann", 0.0, 2.5)]),
        (["Ann", "Ann", "Ben", "Ben", "Ben", "Ben"], [("Ann", 0.0, 0.5), ("Ben", 1.0, 2.5)]),
        (["Ann", "Ann", *[""] * 6, "Ann", "Ann"], [("Ann", 0.0, 0.5), ("Ann", 4.0, 4.5)]),
        (["", "Ann", "", ""], []),
        ([], []),
    ],
)
def test_a_turn_lasts_until_somebody_is_marked_no_more(marks: list[str], turns: list[tuple[str, float, float]]) -> None:
    assert follow(marks) == turns


def test_a_turn_bears_the_id_of_who_spoke() -> None:
    turns = Turns()
    turns.look(0, "p1", "Ann")
    turns.look(1, "p1", "Ann")
    assert turns.end() == [Turn("p1", "Ann", 0, 1)]


def test_the_latest_turns_have_the_one_that_is_not_over_and_are_bounded() -> None:
    latest = LatestTurns()
    for at, name in ((0.0, ""), (1.0, "Ann"), (1.5, "Ann"), (2.0, "Ben"), (2.5, "Ann"), (9.0, "Ann")):
        latest.look(at, f"id of {name}", name)
    assert [(turn.speaker, turn.began_at, turn.ended_at) for turn in latest.turns] == [
        ("Ann", 1.0, 1.5), ("Ben", 2.0, 2.0), ("Ann", 2.5, 2.5), ("Ann", 9.0, 9.0),
    ]  # fmt: skip
    for at in range(MOST_TURNS * 2):
        latest.look(10.0 + at * 2, "", "Cleo")
    assert len(latest.turns) == MOST_TURNS
