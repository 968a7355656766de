"""Words that a provider hears become utterances: guesses are replaced, and what stays is said once."""

from common.wire.minutes import Word
from worker.transcript.dictation import FIRST_NUMBER, Dictation
from worker.transcript.utterances import UtteranceUpdate


def words(text: str, at: float = 0.0, voice: int | None = None) -> list[Word]:
    return [Word(one, at + n * 0.4, at + n * 0.4 + 0.3, voice=voice) for n, one in enumerate(text.split())]


def seen(updates: list[UtteranceUpdate]) -> list[tuple[int, str, str, str, bool]]:
    return [(one.number - FIRST_NUMBER, one.speaker, one.text, one.added, one.is_final) for one in updates]


def test_guesses_grow_and_are_replaced_and_what_stays_is_final_once() -> None:
    said = Dictation("deepgram_streaming")
    for at in (0.0, 0.5, 1.0):
        said.note_speaker(at, "Ann")
    assert seen(said.hear(words("good"), False, False)) == [(0, "Ann", "good", "good", False)]
    assert seen(said.hear(words("good mourning"), False, False)) == [(0, "Ann", "good mourning", "mourning", False)]
    assert seen(said.hear(words("good morning"), True, False)) == [(0, "Ann", "good morning", "", False)]
    assert seen(said.hear(words("all", 0.8), False, False)) == [(0, "Ann", "good morning all", "all", False)]
    [last] = said.hear(words("all", 0.8), True, True)
    assert seen([last]) == [(0, "Ann", "good morning all", "", True)]
    assert (last.began_at, last.ended_at, len(last.words), last.by) == (0.0, 1.1, 3, "deepgram_streaming")
    assert said.hear([], True, True) == said.hear([], True, False) == said.hear([], False, False) == said.end() == []
    assert [one.number for one in said.hear(words("next"), False, False)] == [FIRST_NUMBER + 1]


def test_when_two_speak_in_what_stays_at_once_each_has_an_utterance_of_ones_own() -> None:
    said = Dictation("x")
    said.note_speaker(0.0, "Ann")
    said.note_speaker(0.4, "")
    said.note_speaker(5.0, "Ben")
    said.hear(words("yes"), True, False)
    assert seen(said.hear(words("no", 5.0), True, True)) == [
        (0, "Ann", "yes", "", True),
        (1, "Ben", "no", "no", True),
    ]


def test_long_talk_without_a_pause_ends_by_itself() -> None:
    said = Dictation("x")
    for at in range(0, 1000, 2):
        said.note_speaker(float(at), "Ann" if at % 4 else "Ben")
    assert said.hear(words("w " * 40, 1000), True, False)[0].is_final is False
    assert [one.is_final for one in said.hear(words("w " * 40, 1016), True, False)] == [True, True]
