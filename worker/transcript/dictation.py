"""Makes utterances of the words that a provider of speech to text hears while a meeting runs. Pure.

A provider sends guesses, which the next words replace, and words that stay. Who speaks is known from the marks of the
meeting's page, or from the voices that the provider tells apart.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from common.speech.heard import MOST_WORDS, utterances, whose
from common.wire.minutes import Utterance, Word
from worker.transcript.turns import LatestTurns
from worker.transcript.utterances import UtteranceUpdate

FIRST_NUMBER: Final = 1_000_001
"""Utterances made of captions have smaller numbers, and a bot may have both."""


class Dictation:
    """`by`: the provider's name, which every update bears."""

    def __init__(self, by: str) -> None:
        self._by = by
        self._number = FIRST_NUMBER
        self._final: list[Word] = []
        self._words_sent = 0
        self._latest = LatestTurns()

    def note_speaker(self, now: float, speaker: str) -> None:
        """Who the page marks as speaking now; empty if nobody."""
        self._latest.look(now, "", speaker)

    def hear(self, words: Sequence[Word], is_final: bool, ends: bool) -> list[UtteranceUpdate]:
        """Updates after these words. `is_final`: they stay. `ends`: the utterance ends with them."""
        guesses: list[Word] = []
        if is_final:
            self._final += words
        else:
            guesses = [*words]
        if ends or len(self._final) >= MOST_WORDS:
            return self.end()
        so_far = [*self._final, *guesses]
        return [self._so_far(so_far)] if so_far and (words or not is_final) else []

    def end(self) -> list[UtteranceUpdate]:
        """No more words come: what was said is final."""
        found = [self._finish(each) for each in utterances(self._final, self._latest.turns)]
        self._final, self._words_sent = [], 0
        return found

    def _so_far(self, words: list[Word]) -> UtteranceUpdate:
        speaker = Counter(whose(words, self._latest.turns)).most_common(1)[0][0]
        update = self._update(words, speaker, words[0].began_at, words[-1].ended_at)
        self._words_sent = len(words)
        return update

    def _finish(self, said: Utterance) -> UtteranceUpdate:
        update = self._update(said.words, said.speaker, said.began_at, said.ended_at, is_final=True)
        self._number += 1
        self._words_sent = 0
        return update

    def _update(
        self, words: Sequence[Word], speaker: str, began_at: float, ended_at: float, *, is_final: bool = False
    ) -> UtteranceUpdate:
        texts = [word.text for word in words]
        added = " ".join(texts[self._words_sent :])
        text = " ".join(texts)
        return UtteranceUpdate(
            self._number, speaker, text, began_at, ended_at, is_final, added, words=tuple(words), by=self._by
        )
