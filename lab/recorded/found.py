"""What the finished files of a recorded call are like. Nothing is taken from the manifest but when the recording began
and ended, so that a fault of what wrote it shows.

Sound is decoded by ffmpeg. Times are compared with when each flash and beep was sent, by the clock of the same machine.
"""

import array
import asyncio
import math
import re
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Final, NamedTuple

import av
import msgspec

from common.runtime.workshop import workshop
from common.speech.provider import SpeechError
from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, VIDEO, Manifest
from lab.recorded.call import NOTE_S, NOTED, SAID, Noted, Window
from lab.recorded.received import RATE, tone
from lab.recorded.seeing import FLASH_S, HUSH_S, LOUD, QUIET, Watched, watch
from lab.speech import voice

TONES: Final = (440, 1000)
BLOCK_S: Final = 0.005
STEPS: Final = 7
"""How many windows of the picture are decoded, spread over the call."""
_LOUD_DB: Final = -20.0  # between QUIET, -43 dBFS, and LOUD, -9
_LOST_DB: Final = -60.0  # less than what is sent at any time
_NEAR_S: Final = 0.5
_STILL_S: Final = 1.0
_HOLE_S: Final = 1.0
_SLACK_S: Final = 1.0
_VOICE_DB: Final = 20.0
_LEVELS: Final = re.compile(r"pts_time:(\S+)|astats\.([12])\.RMS_level=(\S+)")


class Sides(NamedTuple):
    """Samples from -1 to 1."""

    left: list[float]
    right: list[float]


class Block(NamedTuple):
    """BLOCK_S of sound: where it begins, and how loud it is left and right, dBFS."""

    at: float
    left: float
    right: float


class Late(NamedTuple):
    """By how much later something is in the file than it was sent, both in seconds of the recording."""

    sent: float
    by: float


def lines(folder: Path) -> list[str]:
    """What is to be printed of a folder that `call.hold` left."""
    noted = msgspec.json.decode((folder / NOTED).read_bytes(), type=Noted)
    made = manifest.decode((folder / FINAL).read_bytes())
    assert made.ended_at
    path = folder / (VIDEO if noted.box else AUDIO)
    lasts_s = made.ended_at - made.began_at
    sentences = [at - made.began_at for at in noted.said]
    spoken = [(at - HUSH_S, at + _ends_s(folder / SAID) + HUSH_S) for at in sentences]
    blocks = [block for block in _blocks(path) if not _is_in(block.at, spoken, _NEAR_S)]
    sent = [at for at in (at - made.began_at for at in noted.sent) if not _is_in(at, spoken, 2 * _NEAR_S)]
    onsets = [
        now.at
        for before, now in pairwise(blocks)
        if before.left <= _LOUD_DB < now.left and now.at - before.at < 2 * BLOCK_S
    ]
    beeps = _lateness(sent, onsets)
    loud = list(_in_beeps(path, onsets))
    loads = sorted(noted.loads) or [0.0]
    return [
        f"{folder.name}, by {made.way}: {lasts_s / 60:.1f} minutes; load {loads[0]:.0f} to {loads[-1]:.0f},"
        f" median {statistics.median(loads):.0f}, on {noted.processors} processors",
        f"  length     {_ends_s(path) - lasts_s:+.2f} s against the wall clock",
        f"  pitch      {_pitches(loud)}",
        f"  level      {_level(blocks)}",
        f"  separation {_separation(loud)}",
        f"  lost       sound {_lost(blocks, beeps)}; {_missing(sent, beeps)}",
        f"  told       {told(made, [block for block in blocks if block.at >= beeps[0].sent])}",
        *(_of_picture(path, noted, made, sent, beeps) if noted.box else [f"  drift      {drift_of_sound(beeps)}"]),
        *_of_sentences([path, *(folder / track.path for track in made.tracks)], folder / SAID, sentences),
    ]


def _is_in(at: float, spans: Sequence[tuple[float, float]], slack_s: float) -> bool:
    return any(since - slack_s < at < until + slack_s for since, until in spans)


def _of_sentences(paths: Sequence[Path], sentence: Path, sent: Sequence[float]) -> list[str]:
    """What is understood of the sentence in each of these files, and how much later it begins. `sent`: when it was
    begun.
    """
    if not sent:
        return []
    without = voice.missing()
    said = [f"sent: {voice.SENTENCE}", *([f"not understood here: there is no {without}"] if without else [])]
    length_s = _ends_s(sentence)
    began_s = onset(_samples(sentence, 0.0, length_s).left)
    for path, at in product(paths, sent):
        since_s, until_s = at - _NEAR_S, at + length_s + _NEAR_S
        late_s = since_s + onset(_samples(path, since_s, until_s - since_s).left) - at - began_s
        words = "" if without else f"{_understood(path, since_s, until_s)}; "
        said.append(f"{path.name}, at {at:.0f} s: {words}{_ms(late_s)} since it was sent")
    return [f"  {'' if place else 'sentence':10} {text}" for place, text in enumerate(said)]


def _understood(path: Path, since_s: float, until_s: float) -> str:
    with workshop() as folder:
        part = folder / "part.flac"
        command = ["ffmpeg", "-v", "error", "-ss", f"{since_s:.3f}", "-to", f"{until_s:.3f}", "-i", str(path)]
        subprocess.run([*command, "-map", "0:a", str(part)], check=True)
        try:
            heard = asyncio.run(voice.understood(part))
        except SpeechError as error:
            return f"not understood: {error}"
    said = voice.words(voice.SENTENCE)
    return f"{' '.join(heard)}; {voice.errors(said, heard)} of {len(said)} words are wrong"


def onset(samples: Sequence[float]) -> float:
    """When the loud part of it begins, in seconds: what is within _VOICE_DB of its loudest block."""
    size = round(BLOCK_S * RATE)
    powers = [
        sum(sample * sample for sample in samples[place : place + size]) for place in range(0, len(samples), size)
    ]
    least = max(powers) * 10 ** (-_VOICE_DB / 10)
    return next(place for place, power in enumerate(powers) if power >= least) * BLOCK_S


def _of_picture(path: Path, noted: Noted, made: Manifest, sent: Sequence[float], beeps: Sequence[Late]) -> list[str]:
    assert noted.box
    at_s = [window.flashes[0] - made.began_at for window in noted.windows]
    steps = [at_s[0] + (at_s[-1] - at_s[0]) * step / (STEPS - 1) for step in range(STEPS)]
    watched = [watch(path, noted.box, since_s=since_s, until_s=since_s + NOTE_S) for since_s in steps]
    flashes = [
        _lateness(sent, [at for at in each.flashes if at >= since_s])
        for since_s, each in zip(steps, watched, strict=True)
    ]
    shown = _shown(path)
    return [
        f"  pictures   {shown.pictures / _ends_s(path):.2f} a second in the file,"
        f" {_rates(steps, watched)} different ones at {STEPS} times; {shown.still_s:.1f} s in stills of more than"
        f" {_STILL_S:g} s, the longest {shown.longest_s:.1f} s",
        f"  offset     at the start {_offset(beeps, flashes[0], sent, _since(noted.windows[0], made.began_at))}",
        f"             at the end {_offset(beeps, flashes[-1], sent, _since(noted.windows[-1], made.began_at))}",
        f"  drift      {drift(beeps, flashes)}",
    ]


def _blocks(path: Path) -> Iterator[Block]:
    """All of the sound."""
    size = round(BLOCK_S * RATE)
    steps = (
        f"asetnsamples=n={size}",
        "astats=metadata=1:reset=1:measure_perchannel=RMS_level:measure_overall=none",
        "ametadata=mode=print:file=-",
    )
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a", "-af", ",".join(steps), "-f", "null", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        at = left = 0.0
        for line in process.stdout:
            if not (found := _LEVELS.search(line)):
                continue
            time, side, level = found.groups()
            if time:
                at = float(time)
            elif side == "1":
                left = float(level)
            else:
                yield Block(at, left, float(level))


def _lateness(sent: Sequence[float], found: Sequence[float]) -> list[Late]:
    """Of each that was sent and is found."""
    late: list[Late] = []
    place = 0
    for at in sent:
        while place < len(found) and found[place] < at - _NEAR_S:
            place += 1
        near = [each - at for each in found[place : place + 3] if abs(each - at) < _NEAR_S]
        if near:
            late.append(Late(at, min(near, key=abs)))
    return late


class _Shown(NamedTuple):
    """The pictures of a file: how many, how long the stills are."""

    pictures: int
    still_s: float
    longest_s: float


def _ends_s(path: Path) -> float:
    with av.open(str(path)) as file:
        return float((file.duration or 0) / av.time_base)


def _shown(path: Path) -> _Shown:
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        times = [float(packet.pts * packet.time_base) for packet in file.demux(stream) if packet.pts is not None]
    times.sort()
    gaps = [after - before for before, after in pairwise([*times, _ends_s(path)])]
    stills = [gap for gap in gaps if gap > _STILL_S]
    return _Shown(len(times), sum(stills), max(gaps))


def _samples(path: Path, at_s: float, length_s: float) -> Sides:
    command = ["ffmpeg", "-v", "error", "-ss", f"{at_s:.3f}", "-t", str(length_s), "-i", str(path), "-map", "0:a"]
    command += ["-f", "s16le", "-ar", str(RATE), "-ac", "2", "-"]
    samples = array.array("h", subprocess.run(command, capture_output=True, check=True).stdout)
    left, right = ([sample / 32768 for sample in samples[side::2]] for side in (0, 1))
    return Sides(left, right)


def _in_beeps(path: Path, onsets: Sequence[float], most: int = 12) -> Iterator[Sides]:
    """Left and right in the middle of some beeps."""
    for at in onsets[len(onsets) // most // 2 :: len(onsets) // most + 1]:
        yield _samples(path, at + FLASH_S / 4, FLASH_S / 2)


def pitch(samples: Sequence[float]) -> float:
    """By the time between the first and the last rise through zero."""
    rises = [
        place + before / (before - now) for place, (before, now) in enumerate(pairwise(samples)) if before < 0 <= now
    ]
    return (len(rises) - 1) / (rises[-1] - rises[0]) * RATE if len(rises) > 1 else 0.0


def _pitches(loud: Sequence[Sides]) -> str:
    found = [statistics.median(pitch(each[side]) for each in loud) for side in (0, 1)]
    return ", ".join(f"{is_hz:.2f} Hz (sent {hz})" for is_hz, hz in zip(found, TONES, strict=True))


def _separation(loud: Sequence[Sides]) -> str:
    apart = [[tone(each[side], hz) - tone(each[1 - side], hz) for each in loud] for side, hz in enumerate(TONES)]
    return ", ".join(
        f"{hz} Hz {statistics.median(side):.0f} dB (least {min(side):.0f})"
        for side, hz in zip(apart, TONES, strict=True)
    )


def _level(blocks: Sequence[Block]) -> str:
    sides: tuple[Callable[[Block], float], ...] = (lambda block: block.left, lambda block: block.right)
    words: list[str] = []
    for side in sides:
        levels = [side(block) for block in blocks if side(block) > _LOST_DB]
        loud = statistics.median([level for level in levels if level > _LOUD_DB] or [0.0])
        quiet = statistics.median([level for level in levels if level <= _LOUD_DB] or [0.0])
        words.append(f"{loud:.1f} and {quiet:.1f} dBFS")
    return f"left {words[0]}, right {words[1]} (sent {_dbfs(LOUD)} and {_dbfs(QUIET)})"


def _dbfs(amplitude: float) -> str:
    """Of a tone."""
    return f"{20 * math.log10(amplitude / math.sqrt(2)):.1f}"


def _lost(blocks: Sequence[Block], beeps: Sequence[Late]) -> str:
    """Where neither side has what is sent at any time, between the first beep and the last."""
    first, last = beeps[0].sent, beeps[-1].sent
    lost = [block.at for block in blocks if first < block.at < last and max(block.left, block.right) < _LOST_DB]
    longest = run = 0
    for before, now in pairwise([float("-inf"), *lost]):
        run = run + 1 if now - before < BLOCK_S * 1.5 else 1
        longest = max(longest, run)
    return f"{len(lost) * BLOCK_S:.2f} s, the longest {longest * BLOCK_S:.2f} s"


def told(made: Manifest, blocks: Sequence[Block]) -> str:
    """Each gap of the manifest, and how much of it is missing in the file; holes of the file that no gap covers.
    `blocks`: from the first beep on.
    """
    kind = "video" if not made.audio else "audio"
    told = [
        (gap.began_at - made.began_at, gap.ended_at - made.began_at, gap.cause) for gap in made.gaps if gap.kind == kind
    ]
    holes = list(_holes(blocks, max([gap[1] for gap in told], default=0.0)))
    words = [
        f"{cause}, {since:.1f} to {until:.1f} s, {_common(since, until, holes):.1f} s of it missing"
        for since, until, cause in told
    ]
    untold = [
        (since, until)
        for since, until in holes
        if not any(since > begins - _SLACK_S and until < ends + _SLACK_S for begins, ends, _ in told)
    ]
    words += [f"NOT TOLD: {since:.1f} to {until:.1f} s" for since, until in untold]
    return "; ".join(words) or f"no gap, and none of {_HOLE_S:g} s is there"


def _holes(blocks: Sequence[Block], ends_s: float) -> Iterator[tuple[float, float]]:
    """Where nothing that is sent at any time is there for _HOLE_S, also after the last of it until `ends_s`."""
    since = None
    for block in blocks:
        if max(block.left, block.right) >= _LOST_DB:
            if since is not None and block.at - since >= _HOLE_S:
                yield since, block.at
            since = None
        elif since is None:
            since = block.at
    ends_s = max(ends_s, blocks[-1].at)
    since = blocks[-1].at if since is None else since
    if ends_s - since >= _HOLE_S:
        yield since, ends_s


def _common(since: float, until: float, holes: Sequence[tuple[float, float]]) -> float:
    return sum(max(0.0, min(until, ends) - max(since, begins)) for begins, ends in holes)


def _rates(steps: Sequence[float], watched: Sequence[Watched]) -> str:
    rates = [each.rate(since_s, since_s + NOTE_S) for since_s, each in zip(steps, watched, strict=True)]
    return f"{min(rates):.1f} to {max(rates):.1f}"


def _since(page: Window, began_at: float) -> Window:
    """In seconds of the recording."""
    return Window([at - began_at for at in page.flashes], [at - began_at for at in page.beeps])


def _missing(sent: Sequence[float], beeps: Sequence[Late]) -> str:
    """Beeps between the first and the last that are not there."""
    within = [at for at in sent if beeps[0].sent <= at <= beeps[-1].sent]
    return f"{len(within) - len(beeps)} of {len(within)} beeps are missing"


def _offset(beeps: Sequence[Late], flashes: Sequence[Late], sent: Sequence[float], page: Window) -> str:
    """How much later the sound is than the picture, in the file and in the bot's page, in one window."""
    sound = statistics.median(late.by for late in beeps if page.flashes[0] - 1 < late.sent < page.flashes[-1] + 1)
    picture = statistics.median(late.by for late in flashes)
    played = statistics.median(late.by for late in _lateness(sent, page.beeps))
    shown = statistics.median(late.by for late in _lateness(sent, page.flashes))
    return (
        f"{_ms(sound - picture)} in the file, {_ms(played - shown)} in the page:"
        f" {_ms(sound - picture - played + shown)} by the recording"
        f" (since it was sent: sound {_ms(sound)}, picture {_ms(picture)})"
    )


def drift(beeps: Sequence[Late], flashes: Sequence[Sequence[Late]]) -> str:
    """By medians of NOTE_S each, where the picture was decoded."""
    at: list[float] = []
    sounds: list[float] = []
    pictures: list[float] = []
    for window in flashes:
        sound = [late.by for late in beeps if window and window[0].sent <= late.sent <= window[-1].sent]
        if sound:
            at.append(window[0].sent / 3600)
            sounds.append(statistics.median(sound))
            pictures.append(statistics.median(late.by for late in window))
    apart = [sound - picture for sound, picture in zip(sounds, pictures, strict=True)]
    slopes = [statistics.linear_regression(at, each).slope for each in (apart, sounds, pictures)]
    return (
        f"{_ms(slopes[0])} an hour between sound and picture, {_ms(slopes[1])} and {_ms(slopes[2])} against the wall"
        f" clock; sound against picture at {len(at)} times: {', '.join(_ms(each) for each in apart)}"
    )


def drift_of_sound(beeps: Sequence[Late]) -> str:
    """By medians of NOTE_S each."""
    times = [beeps[0].sent + (beeps[-1].sent - beeps[0].sent - NOTE_S) * step / (STEPS - 1) for step in range(STEPS)]
    medians = [statistics.median(late.by for late in beeps if at <= late.sent <= at + NOTE_S) for at in times]
    slope = statistics.linear_regression([at / 3600 for at in times], medians).slope
    return f"{_ms(slope)} an hour against the wall clock; since it was sent: {', '.join(map(_ms, medians))}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:+.0f} ms"
