"""Makes utterances of a page's captions: captions of each look in, utterances that grow and end out. Pure.

Pages differ. A block of captions may grow while one person speaks, and its last words may still change. Another page
shows only the latest words. Elements may be drawn anew at any moment. So only the words count, and where they stand. An
utterance begins where it did at the look before, as long as the words before it are the same. Where they are not, the
last words are looked for, which gives by how many places all words moved. In scripts without spaces between words each
character counts as a word.

An utterance ends when nothing was added for a while, when its block is gone, when somebody else speaks in its block, or
when it has grown long.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import eq, itemgetter
from typing import Final, NamedTuple
from unicodedata import category

import msgspec

from common.wire.minutes import Word

STILL_S: Final = 1.6
"""After this long without new words an utterance ends. While somebody speaks, pages add words every half second."""
GONE_S: Final = 10.0
"""A block that comes back later than this counts as another one."""
MOST_WORDS: Final = 60
REVISED_WORDS: Final = 8
"""How many of the last words a page may still change."""
READ_WORDS: Final = 200
"""Of a block so many words are read, the last ones."""
MATCHED_WORDS: Final = 40
"""So many of the last words are looked for in the next look."""
SHORT: Final = 3
CHARS_A_SECOND: Final = 300
"""So much of what a page shows anew is kept, on average: three who speak fast at once say less."""
MOST_CHARS: Final = 10_000
"""So much of it is kept at once."""
ENTRY_CHARS: Final = 100
"""An utterance takes so many more than its name and text have."""
MOST_BLOCKS: Final = 50
MOST_REDRAWN: Final = 2
"""So many blocks that disappeared are compared with a new one."""

_UNSPACED: Final = (
    "\u0e00-\u109f\u1780-\u17ff\u3001-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
    "\U00020000-\U0003ffff"
)
"""Scripts that put no spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese."""
_MARKS: Final = "".join(mark for mark in map(chr, range(0x0E00, 0x1800)) if category(mark).startswith("M"))
_STOPS: Final = "\u2026\u3001\u3002\u300d\u300f\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f"
_IS_UNSPACED: Final = re.compile(f"[{_UNSPACED}]")
_WORD: Final = re.compile(rf" ?(?:[{_UNSPACED}][{_MARKS}{_STOPS}]*|[^ {_UNSPACED}]+)")
_EDGES: Final = f" .,;:!?\"'()-\u201c\u201d\u2018\u2019{_STOPS}"


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
    """The words of one block. `known`: those that it showed, as they are compared. `words`: those of the current
    utterance, and `begins`: where in `known` it begins; negative where its first words are shown no more. `words_sent`:
    how many of its words were in an update.
    """

    def __init__(self, speaker: str) -> None:
        self.speaker = speaker
        self.shown = ""
        self.known: list[str] = []
        self.begins = 0
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
    """Call `look` with the captions at intervals, and `end` when the bot is out. Both return updates. `is_flooded`: the
    page has shown more than can be kept; what it still shows at a later look is kept then.
    """

    def __init__(self) -> None:
        self._speeches: dict[str, _Speech] = {}
        self._last = 0
        self._room = float(MOST_CHARS)
        self._looked_at = 0.0
        self.is_flooded = False

    def look(self, now: float, blocks: Sequence[Block]) -> list[UtteranceUpdate]:
        self._room = min(MOST_CHARS, self._room + max(0.0, now - self._looked_at) * CHARS_A_SECOND)
        self._looked_at = now
        found: list[UtteranceUpdate] = []
        there = {block.key for block in blocks}
        for block in blocks:
            if self._room <= 0:
                self.is_flooded = True
                break
            said = self._hear(self._speech_of(block, there), block, now)
            self._room -= sum(map(_size, said))
            found += said
        for key, speech in list(self._speeches.items()):
            if key not in there:
                speech.gone_at = now if speech.gone_at is None else speech.gone_at
            if speech.words and (speech.gone_at is not None or now - speech.changed_at >= STILL_S):
                found.append(self._finish(speech))
                self._room -= _size(found[-1])
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
        words = _plain(words_of(block.text))
        alike = [
            (len(set(words).intersection(speech.known)), key)
            for key, speech in self._speeches.items()
            if key not in there and speech.speaker == block.speaker
        ]
        for shared, key in sorted(alike, key=itemgetter(0), reverse=True)[:MOST_REDRAWN]:
            speech = self._speeches[key]
            is_revised = len(speech.known) <= SHORT and speech.known[:1] == words[:1]
            if shared and (is_revised or moved(speech.known, words, speech.begins) is not None):
                return self._speeches.pop(key)
        return None

    def _hear(self, speech: _Speech, block: Block, now: float) -> list[UtteranceUpdate]:
        if block.text == speech.shown and block.speaker == speech.speaker:
            return []
        found: list[UtteranceUpdate] = []
        if block.speaker != speech.speaker:
            found += [self._finish(speech)] if speech.words else []
            speech.speaker = block.speaker
        speech.shown = block.text
        shown = words_of(block.text)
        if not _follow(speech, shown):
            found += [self._finish(speech)] if speech.words else []
            speech.known, speech.begins = _plain(shown), 0
        whole = _current(speech, shown)
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
        added = _text(speech.words[speech.words_sent :])
        speech.words_sent = len(speech.words)
        text = _text(speech.words)
        return UtteranceUpdate(
            speech.number, speech.whose, text, speech.began_at, speech.changed_at, is_final=False, added=added
        )

    def _finish(self, speech: _Speech, leaving: int = 0) -> UtteranceUpdate:
        cut = len(speech.words) - leaving
        words, speech.words = speech.words[:cut], speech.words[cut:]
        added = _text(words[speech.words_sent :])
        text = _text(words)
        said = UtteranceUpdate(speech.number, speech.whose, text, speech.began_at, speech.changed_at, True, added)
        speech.begins += cut
        speech.heard.clear()
        if speech.words:
            self._last += 1
            speech.number, speech.began_at, speech.words_sent = self._last, speech.changed_at, 0
        return said


def _size(update: UtteranceUpdate) -> int:
    return len(update.added) + (len(update.speaker) + ENTRY_CHARS if update.is_final else 0)


def _follow(speech: _Speech, shown: list[str]) -> bool:
    """Note what is shown. False: it does not continue what was known."""
    words = _plain(shown)
    if len(words) < len(speech.known) and words == speech.known[: len(words)]:
        return True  # the rest may come back, or something else begins with the same words: the next look tells
    if speech.begins or len(speech.known) > SHORT:  # otherwise it only began, and all of it may still change
        shift = moved(speech.known, words, speech.begins)
        if shift is None:
            return False
        most = len(words) if speech.begins > 0 else 0  # nothing can have come before its first word
        speech.begins = min(speech.begins + shift, most)
    speech.known = words
    return True


def _current(speech: _Speech, shown: list[str]) -> list[str]:
    """The words of the current utterance by now."""
    lost = len(speech.known) - len(shown)
    if lost > min(REVISED_WORDS, len(shown)):
        return speech.words
    return (speech.words[: max(0, -speech.begins)] + shown[max(0, speech.begins) :]) or speech.words


def moved(known: Sequence[str], shown: Sequence[str], begins: int = 0) -> int | None:
    """By how many places the words that were `known` moved; negative where the first ones are shown no more. Words from
    `begins` on may still change. None: something else is shown. Takes time in proportion to MATCHED_WORDS times the
    words shown.
    """
    fewest = min(2, len(known), len(shown))
    revised = min(REVISED_WORDS, max(0, len(known) - max(0, begins)))

    def is_enough(same: int, compared: int) -> bool:
        return compared - same <= max(compared // 2, revised)

    pairs = enumerate(zip(known, shown, strict=False))
    unchanged = next((place for place, (one, other) in pairs if one != other), min(len(known), len(shown)))
    if unchanged >= (begins if begins > 0 else fewest) and is_enough(unchanged, len(known)):
        return 0
    first = max(0, len(known) - MATCHED_WORDS)
    found, best = None, 0
    for place in sorted(range(first + 1 - len(known), len(shown)), key=lambda place: abs(place - first)):
        last = known[first + max(0, -place) :]
        same = [*map(eq, last, shown[max(0, place) :])]
        matches = same.count(True)
        is_better = matches >= fewest and (found is None or 2 * matches - len(last) > best)
        if is_better and is_enough(matches, len(last)) and (fewest < 2 or (True, True) in pairwise(same)):
            found, best = place - first, 2 * matches - len(last)
    return found


def words_of(text: str) -> list[str]:
    """The last words of a text, each with the space before it. A mark or stop belongs to the character before it."""
    said = " ".join(text.split())
    return _WORD.findall(said if _IS_UNSPACED.match(said) else f" {said}")[-READ_WORDS:]


def _text(words: Iterable[str]) -> str:
    return "".join(words).strip()


def _plain(words: Iterable[str]) -> list[str]:
    """The words as they are compared: pages change case and punctuation later."""
    return [word.strip(_EDGES).casefold() or word for word in words]
