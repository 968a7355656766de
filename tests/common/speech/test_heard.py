"""Who said what, made of words with times and of who was marked as speaking: tables, and a property."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.speech.heard import Heard, utterances, whose
from common.wire.minutes import Turn, Word


def word(text: str, at: float, voice: int | None = None) -> Word:
    return Heard(text, at, at + 0.3, voice=voice).at(1000.0)


def turn(who: str, begins: float, ends: float) -> Turn:
    return Turn(who.lower(), who, 1000.0 + begins, 1000.0 + ends)


def said(words: list[Word], turns: list[Turn]) -> list[tuple[str, str]]:
    return [(one.speaker, one.text) for one in utterances(words, turns)]


def test_words_are_said_by_whom_the_page_marked_though_it_marks_late() -> None:
    words = [word("one", 0.0), word("two", 0.4), word("three", 0.8), word("four", 3.0), word("five", 3.3)]
    turns = [turn("Ann", 0.5, 1.9), turn("Ben", 3.4, 4.2)]
    assert said(words, turns) == [("Ann", "one two three"), ("Ben", "four five")]


def test_a_voice_that_nobody_was_marked_for_is_called_as_elsewhere_or_by_its_number() -> None:
    words = [word("a", 0.0, 0), word("b", 2.0, 1), word("c", 9.0, 0), word("d", 12.0, 2)]
    assert whose(words, [turn("Ann", 0.0, 0.5), turn("Ben", 2.0, 2.5)]) == ["Ann", "Ben", "Ann", "Speaker 3"]
    assert whose(words, []) == ["Speaker 1", "Speaker 2", "Speaker 1", "Speaker 3"]
    assert whose([word("a", 0.0)], []) == [""]


def test_one_voice_without_a_pause_is_one_persons_whatever_flickers() -> None:
    words = [word(str(n), n * 0.4, 0) for n in range(10)]
    turns = [turn("Ann", 0.0, 3.0), turn("Ben", 1.2, 1.5)]
    assert {*whose(words, turns)} == {"Ann"}


def test_a_long_text_without_times_is_nobodys_where_several_people_spoke() -> None:
    whole, sentence = Heard("a b", 0.0, 90.0, is_whole=True).at(1000.0), Heard("a", 0.0, 20.0, is_whole=True).at(1000.0)
    ann, ben = turn("Ann", 0.0, 30.0), turn("Ben", 15.0, 19.0)
    assert [whose([one], turns) for one in (whole, sentence) for turns in ([ann], [ann, ben])] == [
        ["Ann"], [""], ["Ann"], ["Ann"],
    ]  # fmt: skip


def test_long_texts_without_times_that_follow_each_other_have_each_its_own_name() -> None:
    texts = [Heard(text, at, at + 1200.0, is_whole=True).at(1000.0) for text, at in (("a", 0.0), ("b", 1200.0))]
    turns = [turn("Ann", 0.0, 600.0), turn("Ann", 1500.0, 1600.0), turn("Ben", 1700.0, 2400.0)]
    assert [(one.speaker, one.text) for one in utterances(texts, turns, timed=False)] == [("Ann", "a"), ("", "b")]


@pytest.mark.parametrize(
    ("begins_s", "ends_s", "within"),
    [(1.0, 2.0, (1.0, 2.0)), (-1e11, 1.0, (0.0, 1.0)), (1e12, 1e300, (4.0, 4.0)), (math.nan, math.inf, (0.0, 4.0))],
)
def test_a_word_is_said_within_the_sound(begins_s: float, ends_s: float, within: tuple[float, float]) -> None:
    known = Heard("hi", begins_s, ends_s).within(4.0)
    assert (known.begins_s, known.ends_s) == within


def test_a_long_pause_and_many_words_end_an_utterance() -> None:
    assert said([word("a", 0.0), word("b", 5.0)], []) == [("", "a"), ("", "b")]
    assert [len(text.split()) for _, text in said([word("w", n * 0.4) for n in range(130)], [])] == [60, 60, 10]


def test_an_utterance_has_its_words_as_they_stand_in_it_if_their_times_are_known() -> None:
    words = [Heard("well", 0.0, 0.3, "Well,", 0.9).at(1000.0), Heard("yes", 0.4, 0.2, "yes.").at(1000.0)]
    [one] = utterances(words, [])
    assert (one.text, one.began_at, one.ended_at, one.words) == ("Well, yes.", 1000.0, 1000.4, words)
    assert utterances(words, [], timed=False)[0].words == []
    assert utterances([], [turn("Ann", 0, 1)]) == []


TIMES = st.floats(0, 30)


@given(
    st.lists(st.builds(word, st.sampled_from("abc"), TIMES, st.none() | st.integers(0, 3))),
    st.lists(st.builds(turn, st.sampled_from(["Ann", "Ben"]), TIMES, TIMES)),
)
def test_no_word_is_lost_or_said_twice(words: list[Word], turns: list[Turn]) -> None:
    found = [one for each in utterances(words, turns) for one in each.words]
    assert found == sorted(words, key=lambda one: one.began_at)
