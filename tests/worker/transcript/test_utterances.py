"""What pages show of what is said, look by look, and the utterances that come of it."""

import random
from collections.abc import Sequence
from itertools import cycle
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.platforms.captions import MOST_LINES, TEXT_CHARS
from worker.transcript import utterances as module
from worker.transcript.utterances import (
    CHARS_A_SECOND,
    MATCHED_WORDS,
    MOST_CHARS,
    MOST_REDRAWN,
    MOST_WORDS,
    READ_WORDS,
    STILL_S,
    Block,
    UtteranceBuilder,
    UtteranceUpdate,
)

STEP_S = 0.3


def follow(*looks: Sequence[Block], pause_after: bool = True) -> list[UtteranceUpdate]:
    """All that is said about looks that are 0.3 s apart."""
    utterances, found, now = UtteranceBuilder(), list[UtteranceUpdate](), 100.0
    for blocks in looks:
        found += utterances.look(now, blocks)
        now += STEP_S
    if pause_after:
        found += utterances.look(now + STILL_S, looks[-1])
    return found + utterances.end()


def finals(said: Sequence[UtteranceUpdate]) -> list[tuple[str, str]]:
    return [(update.speaker, update.text) for update in said if update.is_final]


def block(text: str, speaker: str = "Ann", key: str = "1") -> Block:
    return Block(key, speaker, text)


def growing(text: str, **more: str) -> list[list[Block]]:
    words = text.split()
    return [[block(" ".join(words[:count]), **more)] for count in range(1, len(words) + 1)]


def window(text: str, size: int) -> list[list[Block]]:
    words = text.split()
    return [[block(" ".join(words[max(0, count - size) : count]))] for count in range(1, len(words) + 1)]


SENTENCE = "we should ship the release on Friday and tell the others before noon"


def test_a_block_that_grows_is_one_utterance_that_is_told_as_it_grows() -> None:
    said = follow(*growing("Good morning everyone"))
    assert [(update.text, update.added, update.is_final) for update in said] == [
        ("Good", "Good", False),
        ("Good morning", "morning", False),
        ("Good morning everyone", "everyone", False),
        ("Good morning everyone", "", True),
    ]
    assert {update.number for update in said} == {1}
    assert (said[-1].began_at, said[-1].ended_at) == (100.0, pytest.approx(100.6))


def test_what_is_revised_is_said_once() -> None:
    said = follow([block("I")], [block("I sea")], [block("I see the")], [block("I see the boat.")])
    assert finals(said) == [("Ann", "I see the boat.")]


def test_the_very_first_word_may_be_revised() -> None:
    assert finals(follow([block("Eye")], [block("I see")], [block("I see you")])) == [("Ann", "I see you")]


@pytest.mark.parametrize("size", [4, 6, 9])
def test_a_window_that_slides_loses_and_repeats_nothing(size: int) -> None:
    assert finals(follow(*window(SENTENCE, size))) == [("Ann", SENTENCE)]


def test_after_a_pause_only_what_is_new_in_a_block_is_said() -> None:
    utterances = UtteranceBuilder()
    first = [*utterances.look(0, [block("Hello there")]), *utterances.look(STILL_S, [block("Hello there")])]
    assert finals(first) == [("Ann", "Hello there")]
    later = utterances.look(5, [block("Hello there. How are you?")])
    assert [(each.number, each.text) for each in later] == [(2, "How are you?")]
    assert finals(utterances.end()) == [("Ann", "How are you?")]


def test_a_window_goes_on_after_a_pause() -> None:
    utterances = UtteranceBuilder()
    utterances.look(0, [block("one two three four")])
    utterances.look(2, [block("one two three four")])
    utterances.look(3, [block("three four five six")])
    assert finals(utterances.look(6, [block("three four five six")])) == [("Ann", "five six")]


@pytest.mark.parametrize(
    "sentences",
    [
        ("今日は会議を始めます", "皆さんよろしくお願いします", "質問はありますか"),
        ("大家早上好", "我们今天讨论预算", "有什么问题吗"),
        ("สวัสดีทุกคน", "วันนี้เราจะประชุม", "มีคำถามไหม"),
        ("AIの会議です", "Google Meet を使います", "はい yes"),
        ("안녕하세요 여러분", "회의를 시작하겠습니다", "질문 있습니까"),
    ],
)
def test_after_each_pause_only_the_new_sentence_is_said_in_any_script(sentences: Sequence[str]) -> None:
    utterances, found, now, text = UtteranceBuilder(), list[UtteranceUpdate](), 100.0, ""
    for sentence in sentences:
        before = f"{text} " if " " in sentences[0] and text else text
        for count in range(1, len(sentence) + 1):
            text = before + sentence[:count]
            found += utterances.look(now, [block(text)])
            now += STEP_S
        found += utterances.look(now + STILL_S, [block(text)])
        now += STILL_S + STEP_S
    assert finals(found) == [("Ann", sentence) for sentence in sentences]


def test_a_stop_that_comes_later_belongs_to_what_was_said() -> None:
    utterances = UtteranceBuilder()
    utterances.look(0, [block("はい")])
    utterances.look(STILL_S, [block("はい")])
    assert utterances.look(3, [block("はい。")]) == []
    utterances.look(4, [block("はい。始めます")])
    assert finals(utterances.end()) == [("Ann", "始めます")]


def test_a_window_slides_over_what_has_no_spaces() -> None:
    text = "今日は会議を始めますので皆さんよろしくお願いします"
    looks = [[block(text[max(0, count - 9) : count])] for count in range(1, len(text) + 1)]
    assert finals(follow(*looks)) == [("Ann", text)]


def test_what_goes_away_is_final_at_once_and_is_not_said_again_when_it_is_drawn_anew() -> None:
    said = follow(
        [block("Nice to meet you")], [], [block("Nice to meet you", key="2")], [block("Nice to meet you all", key="3")]
    )
    assert finals(said) == [("Ann", "Nice to meet you"), ("Ann", "all")]


def test_elements_that_are_drawn_anew_at_each_look_make_one_utterance() -> None:
    guesses = [f"{each[0].text} uh" for each in growing(SENTENCE)[:-1]]
    looks = [[block(text, key=str(number))] for number, text in enumerate([*guesses, SENTENCE])]
    assert finals(follow(*looks)) == [("Ann", SENTENCE)]


def test_several_lines_that_are_all_drawn_anew_at_each_look_are_each_said_once() -> None:
    texts = ["the first of them", "then a second one", "and now the third"]
    looks: list[list[Block]] = []
    for number, text in enumerate(texts):
        for step in growing(text):
            shown = [*texts[:number], step[0].text]
            looks.append([block(line, key=f"{len(looks)}-{place}") for place, line in enumerate(shown)])
    assert [text for _, text in finals(follow(*looks))] == texts


def test_two_who_speak_at_once_are_apart() -> None:
    looks = [
        [block("shall we begin"), block("yes", "Ben", "2")],
        [block("shall we begin now"), block("yes please", "Ben", "2")],
    ]
    assert sorted(finals(follow(*looks))) == [("Ann", "shall we begin now"), ("Ben", "yes please")]


def test_another_speaker_in_the_same_block_ends_what_the_first_one_said() -> None:
    looks = [
        *growing("that is all from me"),
        [block("from me thanks Ann", "Ben")],
        [block("me thanks Ann very much", "Ben")],
    ]
    assert finals(follow(*looks)) == [("Ann", "that is all from me"), ("Ben", "thanks Ann very much")]


def test_where_the_page_does_not_say_whose_words_they_are_who_was_heard_most_said_them() -> None:
    text = ["we", "are", "all", "here", "now"]
    heard = ["Ben", "Ben", "Ann", "Ann", "Ann"]  # signs come late, and stay
    looks = [[Block("1", "", " ".join(text[: count + 1]), heard[count])] for count in range(5)]
    assert finals(follow(*looks, [Block("1", "", " ".join(text), "Ben")])) == [("Ann", "we are all here now")]


def test_a_text_that_has_nothing_of_the_last_one_is_another_utterance() -> None:
    looks = [[block("the first thing I want to say")], [block("completely different words")]]
    assert finals(follow(*looks)) == [("Ann", "the first thing I want to say"), ("Ann", "completely different words")]


@pytest.mark.parametrize("pauses", [True, False])
def test_another_utterance_in_the_same_place_may_begin_with_the_same_words(pauses: bool) -> None:
    first, second = "I think that we should ship it before Friday or not at all", "I think Ben has a question for us"
    looks = [*growing(first), *([[block(first)]] * 6 if pauses else []), *growing(second)]
    assert finals(follow(*looks)) == [("Ann", first), ("Ann", second)]


def test_a_last_word_that_is_taken_back_is_not_said() -> None:
    looks = [[block("we ship")], [block("we ship it uh")], [block("we ship it")]]
    assert finals(follow(*looks)) == [("Ann", "we ship it")]


def test_what_is_corrected_before_the_current_utterance_moves_it_and_is_not_said_again() -> None:
    utterances, said = UtteranceBuilder(), list[UtteranceUpdate]()
    for at, text in enumerate(
        [SENTENCE, SENTENCE, f"Well {SENTENCE} and then we rest", f"{SENTENCE} and then we rest"]
    ):
        said += utterances.look(at * 2.0, [block(text)])
    assert finals([*said, *utterances.end()]) == [("Ann", SENTENCE), ("Ann", "and then we rest")]


def test_who_never_pauses_is_told_in_pieces() -> None:
    text = " ".join(f"word{number}" for number in range(150))
    said = finals(follow(*growing(text)))
    assert " ".join(piece for _, piece in said) == text
    assert all(len(piece.split()) <= MOST_WORDS + 1 for _, piece in said)


def test_blocks_are_forgotten() -> None:
    utterances = UtteranceBuilder()
    for number in range(500):
        utterances.look(number * 0.3, [block(f"number{number} it is", key=str(number))])
    assert len(utterances._speeches) < 60  # pyright: ignore[reportPrivateUsage]


_WORDS = st.lists(st.text("abcdefgh", min_size=2, max_size=6), min_size=1, max_size=60, unique=True)


@given(_WORDS, st.integers(4, 20))
def test_whatever_is_said_arrives_whole_through_any_window(words: list[str], size: int) -> None:
    text = " ".join(words)
    assert " ".join(piece for _, piece in finals(follow(*window(text, size)))) == text


class Step(NamedTuple):
    """At a look the page shows `more` of the words that are said, and after them a `guess` at the next ones. Or
    nobody says more for a while (`pauses`), and there is no guess.
    """

    more: int
    guess: list[str]
    pauses: bool


_VOCABULARY = st.sampled_from(["yes", "no", "we", "ship", "it"])
_REPEATED = st.lists(_VOCABULARY, min_size=1, max_size=180)
_STEPS = st.lists(
    st.builds(Step, st.integers(1, 5), st.lists(_VOCABULARY, max_size=2), st.booleans()), min_size=1, max_size=60
)


def kept(words: Sequence[str], steps: Sequence[Step], size: int, space: str = " ") -> str:
    """What is kept of these words, of which the page shows the last `size`."""
    utterances, found, now, count = UtteranceBuilder(), list[str](), 100.0, 0
    for step in cycle(steps):
        count = min(count + step.more, len(words))
        is_still = step.pauses or count == len(words)
        shown = [*words[:count], *([] if is_still else step.guess)][-size:]
        for _ in range(2 if is_still else 1):
            found += [text for _, text in finals(utterances.look(now, [block(space.join(shown))]))]
            now += STILL_S if is_still else STEP_S
        if count == len(words):
            return space.join([*found, *(text for _, text in finals(utterances.end()))])
    raise AssertionError


@given(_REPEATED, _STEPS)
def test_whatever_is_repeated_is_kept_as_often_as_it_is_said_in_a_block_that_grows(
    words: list[str], steps: list[Step]
) -> None:
    assert kept(words, steps, len(words) + 4).split() == words


_CHARACTERS = st.lists(st.sampled_from(["会", "議", "は", "ま", "す。", "ที่"]), min_size=1, max_size=180)


@given(_CHARACTERS, _STEPS)
def test_where_words_have_no_spaces_between_them_each_character_is_kept_once(
    words: list[str], steps: list[Step]
) -> None:
    assert kept(words, steps, len(words) + 4, space="") == "".join(words)


@given(_REPEATED, _STEPS, st.integers(12, 40))
def test_whatever_is_repeated_is_not_kept_more_often_than_it_is_said_through_any_window(
    words: list[str], steps: list[Step], size: int
) -> None:
    assert len(kept(words, steps, size).split()) <= len(words) + 8


@pytest.mark.parametrize("times", [2, 20, pytest.param(60, marks=pytest.mark.long)])
def test_a_refrain_is_kept_as_often_as_it_is_said(times: int) -> None:
    text = " ".join([SENTENCE] * times)
    assert " ".join(piece for _, piece in finals(follow(*growing(text)))) == text


def flood(look: int, texts: Sequence[str], *, redrawn: bool) -> list[Block]:
    """All that can be read of a page at one look, with the word changed that begins each text."""
    return [
        block(f"{look} {text[-TEXT_CHARS + 10 :]}", key=f"{look if redrawn else 0}-{line}")
        for line, text in enumerate(texts)
    ]


@pytest.mark.parametrize("redrawn", [False, True])
@pytest.mark.parametrize("letters", ["ab", "会議"])
def test_a_look_compares_a_bounded_number_of_words_whatever_the_page_shows(
    monkeypatch: pytest.MonkeyPatch, seed: int, letters: str, redrawn: bool
) -> None:
    compared = 0

    def counted(one: object, other: object) -> bool:
        nonlocal compared
        compared += 1
        return one == other

    monkeypatch.setattr(module, "eq", counted)
    chance, space = random.Random(seed), " " if letters == "ab" else ""
    texts = [space.join(chance.choices(letters, k=TEXT_CHARS)) for _ in range(MOST_LINES)]
    utterances = UtteranceBuilder()
    for look in range(12):
        compared = 0
        utterances.look(look * STEP_S, flood(look, texts, redrawn=redrawn))
        assert compared <= MOST_LINES * (1 + MOST_REDRAWN) * MATCHED_WORDS * (MATCHED_WORDS + READ_WORDS)


def test_a_page_that_shows_more_than_anybody_says_has_a_bounded_part_of_it_kept(seed: int) -> None:
    chance, utterances, now, size = random.Random(seed), UtteranceBuilder(), 100.0, 0
    for look in range(200):
        texts = [" ".join(str(chance.random()) for _ in range(READ_WORDS)) for _ in range(MOST_LINES)]
        said = utterances.look(now, flood(look, texts, redrawn=True))
        size += sum(len(text) for _, text in finals(said))
        now += STEP_S
    assert utterances.is_flooded
    assert 10_000 < size <= MOST_CHARS + 200 * STEP_S * CHARS_A_SECOND + TEXT_CHARS


def test_what_was_held_back_is_kept_once_there_is_room_and_a_full_page_is_no_flood() -> None:
    texts = [" ".join(f"w{line}x{word}" for word in range(READ_WORDS)) for line in range(MOST_LINES)]
    blocks = [block(text, key=str(line)) for line, text in enumerate(texts)]
    utterances, found = UtteranceBuilder(), list[UtteranceUpdate]()
    for look in range(8):
        found += utterances.look(look * 10.0, blocks)
        assert utterances.is_flooded
    said = [text for _, text in finals([*found, *utterances.end()])]
    assert sorted(" ".join(said).split()) == sorted(" ".join(texts).split())
    usual = UtteranceBuilder()
    usual.look(0, [block(text[-800:], key=str(line)) for line, text in enumerate(texts)])
    assert not usual.is_flooded
