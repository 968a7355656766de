"""Sound of each track by itself, out of its packets, with the name of whose it is as soon as the page's marks tell."""

import base64
import struct
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from common.wire.minutes import Turn
from common.wire.packets import Line, Packets
from lab.recorded.received import level
from tests.waiting import wait_until
from tests.worker.capture.test_making_tracks import STEP, TURN, tone
from worker.live import track_decoding
from worker.live.frames import RATE, Speaker
from worker.live.track_decoding import GONE_S, MOST_TRACKS, TrackDecoder, TrackFrame

BEGAN_AT: Final = 1000.0
LINE_S: Final = 0.2


class Sender:
    """A track that sends a tone, a packet every 20 ms."""

    def __init__(self, track: int, rtp: int = TURN - 5 * STEP) -> None:
        self._track = track
        self._packets = [base64.b64encode(data).decode() for data in tone(2.0)]
        self._rtp = rtp
        self._sent: Iterator[int] = count()

    def sends(self, at_s: float, seconds: float = LINE_S) -> Packets:
        packets: list[tuple[float, int, str]] = []
        for place in range(round(seconds * 50)):
            number = next(self._sent)
            came_ms = (BEGAN_AT + at_s + place * 0.02) * 1000
            packets.append((came_ms, (self._rtp + number * STEP) % TURN, self._packets[number % len(self._packets)]))
        return Packets(self._track, f"id-{self._track}", packets)


def line(at_s: float, *of: Packets) -> Line:
    return Line((BEGAN_AT + at_s) * 1000, [*of])


class Taken:
    """What a decoder gave."""

    def __init__(self) -> None:
        self.frames: list[TrackFrame] = []
        self.is_over = False
        self.decoder = TrackDecoder(self._take)

    def _take(self, frame: TrackFrame | None) -> None:
        if frame is None:
            self.is_over = True
        else:
            self.frames.append(frame)

    async def over(self) -> list[TrackFrame]:
        self.decoder.end()
        self.decoder.begin()
        await wait_until(lambda: self.is_over)
        return self.frames


def in_turn(turns: int) -> list[Turn]:
    """Of two people, two seconds each."""
    names = [("Ann", "Ben")[turn % 2] for turn in range(turns)]
    return [
        Turn(f"id of {name}", name, BEGAN_AT + turn * 2.0, BEGAN_AT + turn * 2.0 + 1.5)
        for turn, name in enumerate(names)
    ]


def seconds(frames: list[TrackFrame], speaker: Speaker | None = None) -> float:
    pcm = b"".join(frame.pcm for frame in frames if speaker in (None, frame.speaker))
    return len(pcm) / 2 / RATE


async def test_a_track_has_its_id_until_it_is_known_whose_it_is_and_then_their_name() -> None:
    taken, senders = Taken(), (Sender(0), Sender(1))
    for number in range(80):
        at_s, turn = number * LINE_S, number // 10
        turns = [*in_turn(turn), in_turn(turn + 1)[-1]]
        taken.decoder.put(line(at_s + LINE_S, senders[turn % 2].sends(at_s)), turns)
    frames = await taken.over()
    known = [Speaker("id of Ann", "Ann"), Speaker("id of Ben", "Ben")]
    assert {frame.speaker for frame in frames} == {*known, Speaker("id-0"), Speaker("id-1")}
    assert [seconds(frames, speaker) > 5 for speaker in known] == [True, True]
    assert (frames[0].speaker, frames[-1].speaker) == (Speaker("id-0"), known[1])
    assert {len(frame.pcm) for frame in frames} == {RATE // 10 * 2}
    assert seconds(frames) == pytest.approx(16.0, abs=0.2)
    samples = [sample / 32768 for (sample,) in struct.iter_unpack("<h", frames[10].pcm)]
    assert level(samples) == pytest.approx(8000 / 32768, rel=0.2)


async def test_a_track_that_people_share_says_who_they_are() -> None:
    taken, shared = Taken(), Sender(0)
    for turn in range(8):
        taken.decoder.put(line(turn * 2.0 + 2.0, shared.sends(turn * 2.0 + 0.05, 1.6)), in_turn(turn + 1))
    frames = await taken.over()
    assert (frames[-1].speaker, frames[-1].shared) == (Speaker("id-0"), {"Ann", "Ben"})


async def test_packets_that_come_again_or_out_of_order_are_heard_once_and_damaged_ones_cost_no_other() -> None:
    taken, sender = Taken(), Sender(0)
    one, two = sender.sends(0.0, 0.24), sender.sends(0.24, 0.24)
    swapped = Packets(0, "id-0", [two.packets[1], two.packets[0], *two.packets[2:]])
    empty = Packets(0, "id-0", [(one.packets[-1][0] + 10, (one.packets[-1][1] + STEP // 2) % TURN, "")])
    for of in (one, empty, one, Packets(1, "id-1", [(1.0, 0, "no base64")]), swapped, one, Packets(0, "id-0", [])):
        taken.decoder.put(line(0.5, of), [])
    anew = Sender(0, rtp=2**31)
    taken.decoder.put(line(1.0, anew.sends(0.5)), [])
    assert seconds(await taken.over()) == pytest.approx(0.6, abs=0.1)


@pytest.mark.parametrize("text", ["no base64", base64.b64encode(b"\x03\x00").decode()])
async def test_damaged_packets_cost_no_other_of_their_line_and_one_line_of_the_log(text: str) -> None:
    taken, sender = Taken(), Sender(0)
    with capture_logs() as logs:
        for number in range(10):
            packets = [*sender.sends(number * LINE_S).packets]
            for place in (1, 4):
                packets[place] = (*packets[place][:2], text)
            taken.decoder.put(line(number * LINE_S, Packets(0, "id-0", packets)), [])
        frames = await taken.over()
    assert seconds(frames) == pytest.approx(10 * 8 * 0.02, abs=0.1)
    assert [log["event"] for log in logs] == ["live_sound_undecoded"]


async def test_a_track_whose_codec_takes_nothing_more_has_another_one() -> None:
    taken, sender = Taken(), Sender(0)
    taken.decoder.put(line(0.0, sender.sends(0.0)), [])
    taken.decoder.begin()
    await wait_until(lambda: taken.frames)
    [track] = taken.decoder._tracks.values()  # pyright: ignore[reportPrivateUsage]
    track._codec.decode(None)  # pyright: ignore[reportPrivateUsage]
    before_s = seconds(taken.frames)
    for number in range(1, 6):
        taken.decoder.put(line(number * LINE_S, sender.sends(number * LINE_S)), [])
    taken.decoder.end()
    await wait_until(lambda: taken.is_over)
    assert seconds(taken.frames) - before_s == pytest.approx(5 * LINE_S, abs=0.1)


@pytest.mark.long
async def test_more_tracks_than_are_decoded_are_dropped_and_counted_until_others_are_gone() -> None:
    taken = Taken()
    for number in range(MOST_TRACKS + 1):
        taken.decoder.put(line(0.25, Sender(number).sends(0.0)), [])
    taken.decoder.put(line(GONE_S + 2, Sender(MOST_TRACKS).sends(GONE_S + 1)), [])
    frames = await taken.over()
    assert taken.decoder.dropped == 2
    assert len({frame.speaker for frame in frames}) == MOST_TRACKS + 1


async def test_what_waits_for_decoding_is_bounded_and_what_is_dropped_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(track_decoding, "MOST_WAITING", 1)
    taken, sender = Taken(), Sender(0)
    for number in range(4):
        taken.decoder.put(line(number * LINE_S, sender.sends(number * LINE_S)), [])
    assert seconds(await taken.over()) == pytest.approx(0.4, abs=0.1)
    assert taken.decoder.dropped == 2 * 2


@pytest.mark.parametrize("sets_clock", [False, True])
async def test_how_loud_tracks_were_is_forgotten_in_time(monkeypatch: pytest.MonkeyPatch, sets_clock: bool) -> None:
    monkeypatch.setattr(track_decoding, "REMEMBERED_S", 2.0)
    taken, sender = Taken(), Sender(0)
    for number in range(75):
        taken.decoder.put(line(number * LINE_S, sender.sends(number * LINE_S)), [])
    if sets_clock:
        taken.decoder.put(line(1e8, sender.sends(1e8)), [])
    assert seconds(await taken.over()) == pytest.approx(15.0, abs=0.3)
    tracks: Any = taken.decoder._tracks  # pyright: ignore[reportPrivateUsage]
    assert all(len(track.energy) <= 60 for track in tracks.values())
