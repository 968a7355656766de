"""Makes utterances of the words that a provider heard and of the list of who spoke when. Pure.

Providers give words and their times, and some number the voices. Meeting pages mark who speaks, a little early or late.
So the words that one voice says without a pause are kept together. They are assigned to the person whom the page marked
for most of that time. If the page marked nobody, they are assigned to the person who has that voice in other places.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, Self

import msgspec

from common.wire.minutes import Turn, Utterance, Word

SLACK_S: Final = 0.4
"""How much later than the voice the page's mark may come, in seconds: pages are read every half second, and mark
late.
"""
BREATH_S: Final = 0.35
"""A pause so short, in seconds, that it is still the same speaker."""
PAUSE_S: Final = 1.5
"""A pause, in seconds, that ends an utterance."""
MOST_WORDS: Final = 60
ONE_SPEAKER_S: Final = 60.0
"""A text without times of its parts that takes longer, in seconds, is nobody's if several people spoke meanwhile."""


class Heard(msgspec.Struct, frozen=True, omit_defaults=True):
    """A word; times are seconds of the sound. From providers without times of words, a sentence (`is_whole`).
    `punctuated`: as it is written in the text, if that differs from the word. `voice`: the number of its voice.
    """

    word: str
    begins_s: float
    ends_s: float
    punctuated: str = ""
    confidence: float | None = None
    voice: int | None = None
    is_whole: bool = False

    def within(self, lasts_s: float) -> Self:
        """The word with times in a sound that lasts so long, whatever a provider says."""
        begins_s, ends_s = (min(max(0.0, second), lasts_s) for second in (self.begins_s, self.ends_s))
        return msgspec.structs.replace(self, begins_s=begins_s, ends_s=ends_s)

    def at(self, since: float) -> Word:
        """The word with wall-clock times. `since`: when the sound began, epoch seconds."""
        begins, ends = since + self.begins_s, since + max(self.ends_s, self.begins_s)
        return Word(self.word, round(begins, 3), round(ends, 3), self.punctuated, self.confidence, self.voice)


def utterances(words: Sequence[Word], turns: Sequence[Turn], *, timed: bool = True) -> list[Utterance]:
    """The utterances of these words, in order. `timed` False: the times of single words are unknown, and are left
    out.
    """
    ordered = sorted(words, key=lambda word: word.began_at)
    found: list[Utterance] = []
    said: list[Word] = []
    speaker = ""
    for word, who in zip(ordered, whose(ordered, turns, timed=timed), strict=True):
        if said and (who != speaker or word.began_at - said[-1].ended_at > PAUSE_S or len(said) >= MOST_WORDS):
            found.append(_utterance(said, speaker, timed=timed))
            said = []
        speaker = who
        said.append(word)
    return [*found, _utterance(said, speaker, timed=timed)] if said else found


def _utterance(said: Sequence[Word], speaker: str, *, timed: bool) -> Utterance:
    text = " ".join(word.text for word in said)
    return Utterance(speaker, text, said[0].began_at, said[-1].ended_at, list(said) if timed else [])


def whose(words: Sequence[Word], turns: Sequence[Turn], *, timed: bool = True) -> list[str]:
    """The name of the speaker of each word; empty: unknown. The words are in order of time. `timed` False: each is a
    sentence or a longer text, and none says anything of the next one.
    """
    runs = list(_runs(words)) if timed else [(place, place + 1) for place in range(len(words))]
    shares = _shares(words, turns)
    names: list[str] = []
    by_voice: defaultdict[int | None, Counter[str]] = defaultdict(Counter)
    for first, end in runs:
        marked: Counter[str] = Counter()
        for share in shares[first:end]:
            marked.update(share)
        is_unclear = len(marked) > 1 and any(word.ended_at - word.began_at > ONE_SPEAKER_S for word in words[first:end])
        name = marked.most_common(1)[0][0] if marked and not is_unclear else ""
        names.append(name)
        if name:
            by_voice[words[first].voice][name] += end - first
    found: list[str] = []
    for (first, end), name in zip(runs, names, strict=True):
        found += [name or _by_voice(words[first].voice, by_voice)] * (end - first)
    return found


def _runs(words: Sequence[Word]) -> Iterable[tuple[int, int]]:
    """Runs of words that one voice says without a pause, as (first, end) indexes."""
    first = 0
    for place in range(1, len(words) + 1):
        if place == len(words) or (
            words[place].voice != words[first].voice or words[place].began_at - words[place - 1].ended_at > BREATH_S
        ):
            yield first, place
            first = place


def _shares(words: Sequence[Word], turns: Sequence[Turn]) -> list[dict[str, float]]:
    """For each word, for how long each person was marked as speaking while it was said."""
    waiting = sorted(turns, key=lambda turn: turn.began_at)
    under_way: list[Turn] = []
    place = 0
    found: list[dict[str, float]] = []
    for word in words:
        while place < len(waiting) and waiting[place].began_at <= word.ended_at + SLACK_S:
            under_way.append(waiting[place])
            place += 1
        under_way = [turn for turn in under_way if turn.ended_at >= word.began_at - SLACK_S]
        share: dict[str, float] = {}
        for turn in under_way:
            begins, ends = max(turn.began_at, word.began_at - SLACK_S), min(turn.ended_at, word.ended_at + SLACK_S)
            share[turn.speaker] = share.get(turn.speaker, 0.0) + max(ends - begins, 0.001)
        found.append(share)
    return found


def _by_voice(voice: int | None, names: defaultdict[int | None, Counter[str]]) -> str:
    if voice is None:
        return ""
    known = names.get(voice)
    return known.most_common(1)[0][0] if known else f"Speaker {voice + 1}"
