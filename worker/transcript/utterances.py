"""Makes utterances of a page's captions: captions of each look in, utterances that grow and end out. Pure.

Pages differ. A block of captions may grow while one person speaks, and its last words may still change. Another page
shows only the latest words. Elements may be drawn anew at any moment. So only the words count: the words of a look are
matched with the words before. An utterance ends when nothing was added for a while, when its block is gone, when
somebody else speaks in its block, or when it has grown long.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

import msgspec

from common.wire.minutes import Word

STILL_S: Final = 1.6
"""After this long without new words an utterance ends. While somebody speaks, pages add words every half second."""
GONE_S: Final = 10.0
"""A block that comes back later than this counts as another one."""
MOST_WORDS: Final = 60
REVISED_WORDS: Final = 8
"""How many of the last words a page may still change."""
REMEMBERED_WORDS: Final = 60
SHORT: Final = 3
MOST_BLOCKS: Final = 200


class Block(NamedTuple):
    """The captions of one speaker at a look. `heard`: who the page marks as speaking, for pages whose captions do not
    name the speaker. Such marks come earlier or later than the words.
    """

    key: str
    speaker: str
    text: str
    heard: str = ""


class UtteranceUpdate(msgspec.Struct, frozen=True):
    """An utterance so far, or all of it (`is_final`). Times are those of looks, or of its words. `added`: the new words
    of its text. `words`: where their times are known. `by`: the provider that heard it; empty: it is of captions.
    """

    number: int
    speaker: str
    text: str
    began_at: float
    ended_at: float
    is_final: bool
    added: str = ""
    words: tuple[Word, ...] = ()
    by: str = ""


class _Speech:
    """The words of one block. `done`: of utterances that have ended; `words`: of the current one; `words_sent`: how
    many of these were in an update.
    """

    def __init__(self, speaker: str) -> None:
        self.speaker = speaker
        self.shown = ""
        self.done: list[str] = []
        self.words: list[str] = []
        self.number = 0
        self.began_at = 0.0
        self.changed_at = 0.0
        self.words_sent = 0
        self.gone_at: float | None = None
        self.heard: Counter[str] = Counter()  # marked as speaking while the current utterance grew

    @property
    def whose(self) -> str:
        return self.speaker or next((name for name, _ in self.heard.most_common(1)), "")


class UtteranceBuilder:
    """Call `look` with the captions at intervals, and `end` when the bot is out. Both return updates."""

    def __init__(self) -> None:
        self._speeches: dict[str, _Speech] = {}
        self._last = 0

    def look(self, now: float, blocks: Sequence[Block]) -> list[UtteranceUpdate]:
        found: list[UtteranceUpdate] = []
        there = {block.key for block in blocks}
        for block in blocks:
            found += self._hear(self._speech_of(block, there), block, now)
        for key, speech in list(self._speeches.items()):
            if key not in there:
                speech.gone_at = now if speech.gone_at is None else speech.gone_at
            if speech.words and (speech.gone_at is not None or now - speech.changed_at >= STILL_S):
                found.append(self._finish(speech))
            if speech.gone_at is not None and now - speech.gone_at > GONE_S:
                del self._speeches[key]
        return found

    def end(self) -> list[UtteranceUpdate]:
        return [self._finish(speech) for speech in self._speeches.values() if speech.words]

    def _speech_of(self, block: Block, there: Iterable[str]) -> _Speech:
        speech = self._speeches.get(block.key)
        if speech is None:
            speech = self._drawn_anew(block, there) or _Speech(block.speaker)
            self._speeches[block.key] = speech
            while len(self._speeches) > MOST_BLOCKS:
                del self._speeches[next(iter(self._speeches))]
        speech.gone_at = None
        return speech

    def _drawn_anew(self, block: Block, there: Iterable[str]) -> _Speech | None:
        """The words of a block that disappeared from the page, if this block continues them."""
        words = block.text.split()
        best, most = "", 0
        for key, speech in self._speeches.items():
            if key not in there and speech.speaker == block.speaker:
                before = [*speech.done, *speech.words]
                at, place, length = _common(before, words)
                begins = len(before) <= SHORT and at == place == 0  # and the rest is being revised
                if length >= max(most, 1) and (begins or length >= min(2, len(before), len(words))):
                    best, most = key, length
        return self._speeches.pop(best) if most else None

    def _hear(self, speech: _Speech, block: Block, now: float) -> list[UtteranceUpdate]:
        if block.text == speech.shown and block.speaker == speech.speaker:
            return []
        found: list[UtteranceUpdate] = []
        if block.speaker != speech.speaker:
            found += [self._finish(speech)] if speech.words else []
            speech.speaker = block.speaker
        speech.shown = block.text
        words = block.text.split()
        whole = continued(speech.done, speech.words, words)
        if whole is None:
            found += [self._finish(speech)] if speech.words else []
            whole = words
        if whole == speech.words:
            return found
        if not speech.words:
            self._last += 1
            speech.number, speech.began_at, speech.words_sent = self._last, now, 0
        speech.words, speech.changed_at = whole, now
        if block.heard:
            speech.heard[block.heard] += 1
        if len(whole) > MOST_WORDS:
            found.append(self._finish(speech, leaving=REVISED_WORDS))
        found.append(self._so_far(speech))
        return found

    def _so_far(self, speech: _Speech) -> UtteranceUpdate:
        added = " ".join(speech.words[speech.words_sent :])
        speech.words_sent = len(speech.words)
        text = " ".join(speech.words)
        return UtteranceUpdate(
            speech.number, speech.whose, text, speech.began_at, speech.changed_at, is_final=False, added=added
        )

    def _finish(self, speech: _Speech, leaving: int = 0) -> UtteranceUpdate:
        cut = len(speech.words) - leaving
        words, speech.words = speech.words[:cut], speech.words[cut:]
        added = " ".join(words[speech.words_sent :])
        said = UtteranceUpdate(
            speech.number, speech.whose, " ".join(words), speech.began_at, speech.changed_at, True, added
        )
        speech.done = (speech.done + words)[-REMEMBERED_WORDS:]
        speech.heard.clear()
        if speech.words:
            self._last += 1
            speech.number, speech.began_at, speech.words_sent = self._last, speech.changed_at, 0
        return said


def continued(done: Sequence[str], said: list[str], shown: list[str]) -> list[str] | None:
    """The words of the current utterance by now. `done`: words of earlier utterances, `said`: of the current one so
    far. `shown`: what the page shows; it repeats some of both, and may change the end. None: it does not continue them.
    """
    before = [*done, *said]
    if not before or not shown:
        return shown or said
    at, place, length = _common(before, shown)
    if length < min(2, len(before), len(shown)):
        return shown if len(said) <= SHORT and not done else None
    begins = place + len(done) - at  # where in `shown` the utterance begins
    return (shown[begins:] or said) if begins >= 0 else said[:-begins] + shown


def _common(before: Sequence[str], words: Sequence[str]) -> tuple[int, int, int]:
    """The longest run of words that both have: where it begins in each, and its length."""
    match = SequenceMatcher(None, [_plain(word) for word in before], [_plain(word) for word in words], autojunk=False)
    found = match.find_longest_match()
    return found.a, found.b, found.size


def _plain(word: str) -> str:
    return word.strip(".,;:!?\"'()-\u2026\u201c\u201d\u2018\u2019").casefold() or word
