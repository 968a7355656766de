"""Utterances, made of what a page shows of what is said: looks at it in, utterances that grow and end out. Pure.

Pages differ. A block may grow for as long as one person speaks, and its last words be revised; a line may be a window
that slides over what is said; elements may be drawn anew at any moment. So what counts is the words: what a look shows
is laid over what was there before. An utterance ends when nothing was added to it for a while, when its block is gone,
when somebody else speaks in it, or when it has grown long.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

import msgspec

STILL_S: Final = 1.6
"""Platforms show words within half a second of each other while somebody speaks."""
GONE_S: Final = 10.0
"""A block that is drawn anew so long after it was gone is another one."""
MOST_WORDS: Final = 60
REVISED_WORDS: Final = 8
"""How many of the last words a platform may still change."""
REMEMBERED_WORDS: Final = 60
SHORT: Final = 3
MOST_BLOCKS: Final = 200


class Block(NamedTuple):
    """What one speaker said, as a page shows it at a look. `heard`: who speaks by other signs, for pages that do not
    say whose words these are; such signs come earlier or later than the words.
    """

    key: str
    speaker: str
    text: str
    heard: str = ""


class Said(msgspec.Struct, frozen=True):
    """An utterance, or what there is of it so far. Times: those of the looks. `added`: what is new of its text."""

    number: int
    speaker: str
    text: str
    began_at: float
    ended_at: float
    is_final: bool
    added: str = ""


class _Speech:
    """What is said in one block. `done`: words of utterances that have ended; `words`: of the one under way."""

    def __init__(self, speaker: str) -> None:
        self.speaker = speaker
        self.shown = ""
        self.done: list[str] = []
        self.words: list[str] = []
        self.number = 0
        self.began_at = 0.0
        self.changed_at = 0.0
        self.told = 0  # of its words
        self.gone_at: float | None = None
        self.heard: Counter[str] = Counter()  # while the utterance under way grew

    @property
    def whose(self) -> str:
        return self.speaker or next((name for name, _ in self.heard.most_common(1)), "")


class Utterances:
    """`look` at what shows, again and again; `end` when nothing more comes."""

    def __init__(self) -> None:
        self._speeches: dict[str, _Speech] = {}
        self._last = 0

    def look(self, now: float, blocks: Sequence[Block]) -> list[Said]:
        found: list[Said] = []
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

    def end(self) -> list[Said]:
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
        """What an element was about that is no more, if this one goes on with it."""
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

    def _hear(self, speech: _Speech, block: Block, now: float) -> list[Said]:
        if block.text == speech.shown and block.speaker == speech.speaker:
            return []
        found: list[Said] = []
        if block.speaker != speech.speaker:
            found += [self._finish(speech)] if speech.words else []
            speech.speaker = block.speaker
        speech.shown = block.text
        words = block.text.split()
        whole = gone_on(speech.done, speech.words, words)
        if whole is None:
            found += [self._finish(speech)] if speech.words else []
            whole = words
        if whole == speech.words:
            return found
        if not speech.words:
            self._last += 1
            speech.number, speech.began_at, speech.told = self._last, now, 0
        speech.words, speech.changed_at = whole, now
        if block.heard:
            speech.heard[block.heard] += 1
        if len(whole) > MOST_WORDS:
            found.append(self._finish(speech, leaving=REVISED_WORDS))
        found.append(self._so_far(speech))
        return found

    def _so_far(self, speech: _Speech) -> Said:
        added = " ".join(speech.words[speech.told :])
        speech.told = len(speech.words)
        text = " ".join(speech.words)
        return Said(speech.number, speech.whose, text, speech.began_at, speech.changed_at, is_final=False, added=added)

    def _finish(self, speech: _Speech, leaving: int = 0) -> Said:
        cut = len(speech.words) - leaving
        words, speech.words = speech.words[:cut], speech.words[cut:]
        added = " ".join(words[speech.told :])
        said = Said(speech.number, speech.whose, " ".join(words), speech.began_at, speech.changed_at, True, added)
        speech.done = (speech.done + words)[-REMEMBERED_WORDS:]
        speech.heard.clear()
        if speech.words:
            self._last += 1
            speech.number, speech.began_at, speech.told = self._last, speech.changed_at, 0
        return said


def gone_on(done: Sequence[str], said: list[str], shown: list[str]) -> list[str] | None:
    """What is being said by now. `done`: words of what was said before, `said`: those of the utterance under way.
    `shown`: by now; they repeat some of both, in whole or in part, and may revise the end. None: they do not go on.
    """
    before = [*done, *said]
    if not before or not shown:
        return shown or said
    at, place, length = _common(before, shown)
    if length < min(2, len(before), len(shown)):
        return shown if len(said) <= SHORT and not done else None
    begins = place + len(done) - at  # where in what is shown the utterance does
    return (shown[begins:] or said) if begins >= 0 else said[:-begins] + shown


def _common(before: Sequence[str], words: Sequence[str]) -> tuple[int, int, int]:
    """The longest row of words that both have: where it begins in each, and how many."""
    match = SequenceMatcher(None, [_plain(one) for one in before], [_plain(one) for one in words], autojunk=False)
    found = match.find_longest_match()
    return found.a, found.b, found.size


def _plain(word: str) -> str:
    return word.strip(".,;:!?\"'()-\u2026\u201c\u201d\u2018\u2019").casefold() or word
