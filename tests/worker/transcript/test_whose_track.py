"""Whose a sound track is, from how loud it was when, and from whom the page marked when."""

import math
import random
from collections.abc import Sequence
from typing import Final

import pytest

from common.wire.minutes import Turn
from worker.transcript import whose_track
from worker.transcript.turns import Turns
from worker.transcript.whose_track import PAUSE_S, SILENCE, STEP_S, VOICE, Whose, level_of, whose

BEGAN_AT: Final = 1000.0
LOUD: Final = level_of(-20.0)
QUIET: Final = level_of(-42.0)
"""A voice as well, and not nearly as loud."""

Spans = Sequence[tuple[float, float]]


def levels(spans: Spans, until_s: float = 60.0, *, loud: int = LOUD) -> bytes:
    """Of a track that is loud from when to when, in seconds of the recording."""
    steps = range(round(until_s / STEP_S))
    return bytes(
        loud if any(first <= step * STEP_S + 0.05 < end for first, end in spans) else SILENCE for step in steps
    )


def marks(late_s: float, until_s: float = 60.0, **spans: Spans) -> list[Turn]:
    """The turns that come of a page which marks each of these late, and whoever comes first if there are two."""
    turns, found = Turns(), list[Turn]()
    for look in range(round(until_s * 2)):
        at_s = look * 0.5
        marked = [name for name, of in spans.items() if any(first <= at_s - late_s < end for first, end in of)]
        name = marked[0] if marked else ""
        found += turns.look(BEGAN_AT + at_s, f"id-{name}", name)
    return found + turns.end()


def names(found: Sequence[Whose]) -> list[str]:
    return [each.speaker for each in found]


ANN: Final = [(2.0, 6.0), (14.0, 15.5), (20.0, 29.0), (40.0, 44.0)]
BEN: Final = [(7.0, 13.0), (16.0, 18.0), (30.0, 38.0), (45.0, 46.0)]


@pytest.mark.parametrize("late_s", [-0.4, 0.0, 0.3, 0.6, 1.0, 1.7])
def test_people_who_take_turns_are_told_apart_however_late_the_page_marks_them(late_s: float) -> None:
    ann, ben = whose([levels(ANN), levels(BEN)], BEGAN_AT, marks(late_s, Ann=ANN, Ben=BEN))
    assert (ann.speaker_id, ann.speaker, ben.speaker_id, ben.speaker) == ("id-Ann", "Ann", "id-Ben", "Ben")
    assert (ann.voice_s, ben.voice_s) == pytest.approx((18.5, 17.0), abs=0.3)
    assert ann.share > 0.85
    assert ben.share > 0.85
    assert (ann.turns, ben.turns) == ((), ())


def test_marks_of_another_clock_name_nobody() -> None:
    assert names(whose([levels(ANN), levels(BEN)], BEGAN_AT, marks(5.0, Ann=ANN, Ben=BEN))) == ["", ""]


def test_a_track_without_voice_and_one_that_nobody_is_marked_for_are_nobodys() -> None:
    hum = levels([(0.0, 60.0)], loud=VOICE - 1)
    silent, humming, unmarked = whose([levels([]), hum, levels(BEN)], BEGAN_AT, marks(0.3, Ann=[(20.0, 29.0)]))
    assert (silent, humming) == (Whose(0.0), Whose(0.0))
    assert unmarked == Whose(pytest.approx(17.0, abs=0.3))  # pyright: ignore[reportArgumentType]


def test_without_marks_or_tracks_there_is_nobody() -> None:
    assert names(whose([levels(ANN)], BEGAN_AT, [])) == [""]
    assert whose([], BEGAN_AT, marks(0.3, Ann=ANN)) == []


def test_two_who_speak_all_the_time_at_once_are_nobody_although_one_is_marked() -> None:
    always = [(0.0, 60.0)]
    nearly = levels(always, loud=LOUD - 9)
    assert names(whose([levels(always), nearly], BEGAN_AT, marks(0.3, Ann=always))) == ["", ""]


def test_what_is_said_at_once_does_not_count_and_the_rest_does() -> None:
    ann, ben = [(2.0, 12.0), (30.0, 34.0)], [(8.0, 18.0), (32.0, 36.0)]
    found = whose([levels(ann), levels(ben)], BEGAN_AT, marks(0.3, Ann=ann, Ben=ben))
    assert names(found) == ["Ann", "Ben"]


def test_a_microphone_that_hums_takes_nobodys_name_and_hides_nobody() -> None:
    hum = levels([(0.0, 60.0)], loud=QUIET)
    assert QUIET >= VOICE
    found = whose([hum, levels(ANN), levels(BEN)], BEGAN_AT, marks(0.5, Ann=ANN, Ben=BEN))
    assert names(found) == ["", "Ann", "Ben"]


def test_short_words_into_anothers_turn_change_nothing() -> None:
    ann, ben = [(2.0, 10.0), (10.6, 20.0)], [(10.0, 10.6), (24.0, 30.0)]
    found = whose([levels(ann), levels(ben)], BEGAN_AT, marks(0.3, Ann=ann, Ben=ben))
    assert names(found) == ["Ann", "Ben"]


def test_short_turns_that_lie_in_longer_ones_of_somebody_else_count() -> None:
    ann, ben = [(0.0, 9.0), (10.0, 19.0), (20.0, 29.0)], [(9.0, 10.0), (19.0, 20.0)]
    turns = marks(0.0, Ann=ann, Ben=ben)
    assert [turn.speaker for turn in turns if turn.began_at == BEGAN_AT] == ["Ann"]
    assert max(turn.ended_at for turn in turns if turn.speaker == "Ann") > BEGAN_AT + 28, "hers goes on over his"
    assert names(whose([levels(ann), levels(ben)], BEGAN_AT, turns)) == ["Ann", "Ben"]


def test_a_page_that_marks_at_random_names_nobody() -> None:
    chance, tracks, named = random.Random(7), [levels(ANN), levels(BEN)], 0
    for _ in range(20):
        spans: dict[str, list[tuple[float, float]]] = {"Ann": [], "Ben": []}
        for at in range(60):
            spans[chance.choice(["Ann", "Ben"])].append((float(at), at + 1.0))
        found = whose(tracks, BEGAN_AT, marks(0.0, Ann=spans["Ann"], Ben=spans["Ben"]))
        named += sum(bool(each.speaker or each.turns) for each in found)
    assert named <= 6, "of 40 tracks, in a minute each"


def test_a_page_that_marks_one_person_whoever_speaks_names_nobody() -> None:
    found = whose([levels(ANN), levels(BEN)], BEGAN_AT, marks(0.0, Ann=[*ANN, *BEN]))
    assert names(found) == ["", ""]


def test_somebody_who_comes_again_has_both_tracks() -> None:
    before, after = ANN[:2], ANN[2:]
    found = whose([levels(before), levels(BEN), levels(after)], BEGAN_AT, marks(0.3, Ann=ANN, Ben=BEN))
    assert names(found) == ["Ann", "Ben", "Ann"]


def test_people_who_take_turns_on_one_track_are_there_with_their_times() -> None:
    both = sorted([*ANN, *BEN, (48.0, 50.0)])  # the last is unmarked
    [found] = whose([levels(both)], BEGAN_AT, marks(0.6, Ann=ANN, Ben=BEN))
    assert (found.speaker, found.speaker_id) == ("", "")
    assert max(turn.ended_at for turn in found.turns) < BEGAN_AT + 47
    assert found.share > 0.8
    times = [(turn.speaker, turn.began_at - BEGAN_AT, turn.ended_at - BEGAN_AT) for turn in found.turns]
    longest = [(2.0, 6.0, "Ann"), (7.0, 13.0, "Ben"), (20.0, 29.0, "Ann"), (30.0, 38.0, "Ben"), (40.0, 44.0, "Ann")]
    for begins, ends, name in longest:
        assert any(
            who == name and first == pytest.approx(begins, abs=0.2) and end >= ends - 0.2 for who, first, end in times
        ), (begins, name)
    assert {turn.speaker_id for turn in found.turns} == {"id-Ann", "id-Ben"}


def test_stretches_of_one_person_are_one_turn_until_a_longer_pause() -> None:
    ann = [(0.0, 1.2), (1.4, 4.0), (5.0, 9.0), (9.0 + PAUSE_S + 0.5, 16.0)]
    ben = [(20.0, 30.0)]
    [found] = whose([levels([*ann, *ben])], BEGAN_AT, marks(0.0, Ann=ann, Ben=ben))
    times = [(turn.speaker, turn.began_at - BEGAN_AT, turn.ended_at - BEGAN_AT) for turn in found.turns]
    assert times == [
        ("Ann", pytest.approx(0.0), pytest.approx(9.0)),
        ("Ann", pytest.approx(11.0), pytest.approx(16.0)),
        ("Ben", pytest.approx(20.0), pytest.approx(30.0)),
    ]


def test_a_track_on_which_it_is_mostly_unclear_who_takes_turns_is_nobodys() -> None:
    both = sorted([*ANN, *BEN])
    [found] = whose([levels(both)], BEGAN_AT, marks(0.3, Ann=ANN[:1], Ben=BEN[:1]))
    assert found == Whose(found.voice_s)


def test_a_track_with_more_turns_than_a_manifest_holds_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whose_track, "MOST_TURNS", 5)
    [found] = whose([levels(sorted([*ANN, *BEN]))], BEGAN_AT, marks(0.6, Ann=ANN, Ben=BEN))
    assert found == Whose(found.voice_s)


def test_tracks_that_end_sooner_are_silent_then() -> None:
    found = whose([levels(ANN[:1], 7.0), levels(BEN)], BEGAN_AT, marks(0.3, Ann=ANN[:1], Ben=BEN))
    assert names(found) == ["Ann", "Ben"]


@pytest.mark.parametrize(
    ("dbfs", "level"), [(-math.inf, SILENCE), (-200.0, SILENCE), (-50.0, VOICE), (0.0, 127), (3.0, 127)]
)
def test_a_level_is_one_byte(dbfs: float, level: int) -> None:
    assert level_of(dbfs) == level
