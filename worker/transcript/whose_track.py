"""Works out whose sound track is whose, from how loud each one was and from whom the page marked as speaking. Pure.

Only plain moments count: one track is clearly louder than all others, and the page marks nobody or one person. Pages
mark late, all of them by about the same time in one meeting. So the marks are moved to where they fit the sound best.

A track belongs to whom the page marked for most of its plain moments, if most of the plain moments for which it marked
them are this track's. A server that sends only the loudest sends several people in turn on one track. There each
stretch of sound belongs to somebody. Where neither is clear, the track is nobody's.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import groupby, zip_longest
from operator import itemgetter
from typing import Final, NamedTuple

from common.wire.minutes import Turn

STEP_S: Final = 0.1
SILENCE: Final = 0
"""A level is one byte: 127 and the dBFS of STEP_S, at least this."""
VOICE: Final = 127 - 50
"""Quieter is no voice. worker/decide/received_media.py has the same for all tracks together."""
LOUDER: Final = 10
"""dB. By so much a track is clearly louder than another one."""
LOOK_S: Final = 0.5
"""A page is looked at that often, so a mark counts for as long."""
LATE_STEPS: Final = sorted(range(-5, 21), key=lambda steps: abs(steps - 5))
"""By how much marks may come late, the likely ones first: half a second before the sound to two seconds after it."""
CLEAR: Final = 0.75
"""A clear majority."""
FEWEST_STEPS: Final = 10
"""Plain moments without which a track is nobody's."""
BREATH_STEPS: Final = 3
"""A pause that does not end a stretch."""
STRETCH_STEPS: Final = 15
"""A shorter stretch may be over before the page marks it, and tells nothing of turns."""
OTHERS: Final = 0.15
"""The part of its plain moments above which stretches of others show that people take turns on a track."""
PAUSE_S: Final = 1.5
"""A longer pause ends a turn."""
MOST_TURNS: Final = 1000
"""A track with more of them is nobody's."""

_NOBODY: Final = -1
_SEVERAL: Final = -2


class Whose(NamedTuple):
    """`voice_s`: for how long the track has voice. `speaker`: whose it is, with the id that the page has; empty: that
    is unknown, or `turns` says who speaks when. `share`: the part of its plain moments for which it is known.
    """

    voice_s: float
    speaker_id: str = ""
    speaker: str = ""
    share: float = 0.0
    turns: Sequence[Turn] = ()


def level_of(dbfs: float) -> int:
    """-inf is silence."""
    return SILENCE + 127 + round(min(0.0, max(-127.0, dbfs)))


def whose(tracks: Sequence[bytes | bytearray], began_at: float, turns: Sequence[Turn]) -> list[Whose]:
    """Of each track, whose it is. `tracks`: the levels of each, of STEP_S from `began_at` on, which is in epoch seconds
    as the times of `turns` are.
    """
    people = list(dict.fromkeys(turn.speaker for turn in turns))
    ids = {turn.speaker: turn.speaker_id for turn in turns}
    loudest = _loudest(tracks)
    marked = _moved(_marked(people, turns, began_at, len(loudest) + max(LATE_STEPS)), loudest)
    plain: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for (track, who), steps in Counter(zip(loudest, marked, strict=True)).items():
        if who != _SEVERAL:
            plain[track][who] = steps
    stretches = _stretches(loudest, marked)
    found: list[Whose] = []
    for number, levels in enumerate(tracks):
        who, share = _owner(plain[number], stretches[number])
        of_turns: Sequence[Turn] = ()
        if who == _SEVERAL:
            of_turns = [
                Turn(ids[people[one]], people[one], *times) for one, *times in _turns(stretches[number], began_at)
            ]
        elif who != _NOBODY and not _is_theirs(who, number, loudest, marked):
            who = _NOBODY
        name = people[who] if who >= 0 else ""
        is_known = name or 0 < len(of_turns) <= MOST_TURNS
        voice_s = round(sum(level >= VOICE for level in levels) * STEP_S, 1)
        found.append(Whose(voice_s, ids.get(name, ""), name, share, of_turns) if is_known else Whose(voice_s))
    return found


class _Stretch(NamedTuple):
    """Sound of one track without a pause. `first`, `end`: its steps. `who`: _NOBODY if it is unclear."""

    first: int
    end: int
    who: int

    @property
    def steps(self) -> int:
        return self.end - self.first


def _owner(plain: Counter[int], stretches: Sequence[_Stretch]) -> tuple[int, float]:
    """Who was marked for most of a track's plain moments, or _SEVERAL if people take turns, and the part for which that
    is known.
    """
    total = plain.total()
    known = [each for each in stretches if each.who != _NOBODY]
    who, steps = max(
        ((who, steps) for who, steps in plain.items() if who >= 0), key=itemgetter(1), default=(_NOBODY, 0)
    )
    if sum(each.steps for each in known if each.who != who) > total * OTHERS:
        who, steps = _SEVERAL, sum(each.steps for each in known)
    is_clear = total >= FEWEST_STEPS and steps >= total * CLEAR
    return (who, min(1.0, round(steps / total, 2))) if is_clear else (_NOBODY, 0.0)


def _is_theirs(who: int, number: int, loudest: Sequence[int], marked: Sequence[int]) -> bool:
    """Whether they were marked for few others, while this track was there. They may have had other tracks before it, or
    have them after it.
    """
    first, end = loudest.index(number), len(loudest) - loudest[::-1].index(number)
    on = Counter(
        track for track, one in zip(loudest[first:end], marked[first:end], strict=True) if one == who and track >= 0
    )
    return on[number] >= on.total() * CLEAR


def _loudest(tracks: Sequence[bytes | bytearray]) -> list[int]:
    """Of each step the track that is clearly the loudest; _NOBODY: none has voice; _SEVERAL: none is."""
    found: list[int] = []
    for levels in zip_longest(*tracks, fillvalue=SILENCE):
        most = max(levels)
        if most < VOICE:
            found.append(_NOBODY)
        else:
            found.append(levels.index(most) if sum(level > most - LOUDER for level in levels) == 1 else _SEVERAL)
    return found


def _marked(people: Sequence[str], turns: Sequence[Turn], began_at: float, steps: int) -> list[int]:
    """Whom the page marked at each step, as a place in `people`. A turn goes on over short marks of somebody else; it
    is these that count there.
    """
    marked = [_NOBODY] * steps
    places = {speaker: place for place, speaker in enumerate(people)}
    short = [turn for turn in turns if turn.ended_at - turn.began_at <= PAUSE_S]
    for place, turn in enumerate([*turns, *short]):
        who, is_again = places[turn.speaker], place >= len(turns)
        first, end = (round((at - began_at) / STEP_S) for at in (turn.began_at, turn.ended_at + LOOK_S))
        for step in range(max(first, 0), min(end, steps)):
            marked[step] = who if is_again or marked[step] in (_NOBODY, who) else _SEVERAL
    return marked


def _moved(marked: list[int], loudest: Sequence[int]) -> list[int]:
    """The marks where they fit best."""

    def at(late: int) -> list[int]:
        return ([_NOBODY] * -late + marked[max(late, 0) :])[: len(loudest)]

    def fit(late: int) -> int:
        most: Counter[int] = Counter()
        for (track, who), steps in Counter(zip(loudest, at(late), strict=True)).items():
            if track >= 0 and who >= 0:
                most[track] = max(most[track], steps)
        return most.total()

    return at(max(LATE_STEPS, key=fit))


def _stretches(loudest: Sequence[int], marked: Sequence[int]) -> defaultdict[int, list[_Stretch]]:
    """Of each track those that are long enough."""
    runs: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    step = 0
    for track, steps in groupby(loudest):
        first, step = step, step + sum(1 for _ in steps)
        before = runs[track]
        if before and first - before[-1][1] <= BREATH_STEPS:
            first, _ = before.pop()
        before.append((first, step))
    found: defaultdict[int, list[_Stretch]] = defaultdict(list)
    for track, pairs in runs.items():
        long = ((first, end) for first, end in pairs if end - first >= STRETCH_STEPS)
        found[track] = [_Stretch(first, end, _who(marked[first:end])) for first, end in long]
    return found


def _who(marked: Sequence[int]) -> int:
    who, steps = Counter(marked).most_common(1)[0]
    return who if who >= 0 and steps >= len(marked) * CLEAR else _NOBODY


def _turns(stretches: Sequence[_Stretch], began_at: float) -> list[tuple[int, float, float]]:
    """Who speaks from when to when, in epoch seconds."""
    turns: list[tuple[int, float, float]] = []
    for first, end, who in stretches:
        if who == _NOBODY:
            continue
        begins, ends = (round(began_at + step * STEP_S, 1) for step in (first, end))
        if turns and turns[-1][0] == who and begins - turns[-1][2] <= PAUSE_S:
            turns[-1] = (who, turns[-1][1], ends)
        else:
            turns.append((who, begins, ends))
    return turns
