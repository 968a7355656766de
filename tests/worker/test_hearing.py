"""What the media tell: silence, nothing received, no connection; and what does not tell it. Through the lifecycle."""

from collections.abc import Iterable
from typing import Final

import msgspec
import pytest

from tests.worker.stories import LIMITS, LOBBY, TIMED_OUT, UNKNOWN, Story, ends_for
from wire.vocabulary import Reason
from worker.deadlines import ICE_S, NO_MEDIA_S
from worker.hearing import GAP_S, VOICE_LEVEL
from worker.sights import Observation, Screen, Seen

LOUD: Final = 0.1
QUIET: Final = VOICE_LEVEL / 2
TURN_S: Final = 0.5  # from one look to the next


class Call:
    """A meeting looked at twice a second, with what was received so far."""

    def __init__(self) -> None:
        self.now = 1.0
        self.story: list[tuple[float, Observation]] = []
        self._packets = 0
        self._energy: float | None = 0.0
        self._audio_s = 0.0

    def hear(self, seconds: float, level: float | None, *, count: int | None = 2, packets: int = 25) -> "Call":
        for _ in range(int(seconds / TURN_S)):
            self.now += TURN_S
            self._packets += packets
            self._audio_s += TURN_S if packets else 0.0
            self._energy = None if level is None or self._energy is None else self._energy + level**2 * TURN_S
            self.look(count)
        return self

    def receive_unplayed(self, seconds: float) -> "Call":
        for _ in range(int(seconds / TURN_S)):
            self.now += TURN_S
            self._packets += 25
            self.look(2)
        return self

    def look(self, count: int | None, screen: Screen = Screen.IN_MEETING) -> "Call":
        seen = Seen(
            screen,
            "meeting",
            count,
            self._packets,
            media_packets=self._packets,
            audio_energy=self._energy,
            audio_s=self._audio_s,
            media="connected",
        )
        self.story.append((self.now, seen))
        return self

    def see(self, seconds: float, observation: Observation) -> "Call":
        for _ in range(int(seconds / TURN_S)):
            self.now += TURN_S
            self.story.append((self.now, observation))
        return self

    def miss(self, seconds: float) -> "Call":
        """Nobody looks."""
        self.now += seconds
        return self

    def start_anew(self) -> "Call":
        self._packets, self._energy, self._audio_s = 0, 0.0, 0.0
        return self

    @property
    def reason(self) -> Reason | None:
        return ends_for(self.story, LIMITS)


SILENCE_S: Final = int(LIMITS.silence_s)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (Call().look(2).hear(SILENCE_S - 1, QUIET), None),
        (Call().look(2).hear(SILENCE_S + 1, QUIET), Reason.SILENCE),
        (Call().look(2).hear(SILENCE_S + 1, LOUD), None),
        (Call().look(2).hear(60, QUIET).hear(1, LOUD).hear(SILENCE_S - 1, QUIET), None),
        (Call().look(2).hear(60, QUIET).hear(1, LOUD).hear(SILENCE_S + 1, QUIET), Reason.SILENCE),
        # All are muted: nothing is sent any more.
        (Call().look(2).hear(5, LOUD).hear(SILENCE_S - 1, 0.0, packets=0), None),
        (Call().look(2).hear(5, LOUD).hear(SILENCE_S + 1, 0.0, packets=0), Reason.SILENCE),
        # Nobody was ever heard: that is another matter.
        (Call().look(2).hear(3 * SILENCE_S, 0.0, packets=0), None),
        # The media do not tell, or not in a way that means anything.
        (Call().look(2).hear(3 * SILENCE_S, None), None),
        (Call().look(2).receive_unplayed(3 * SILENCE_S), None),
        # Alone it is not silence that counts; the clock begins when somebody comes.
        (Call().look(2).hear(5, LOUD).hear(290, QUIET, count=1), None),
        (Call().look(2).hear(5, LOUD).hear(200, QUIET, count=1).hear(SILENCE_S - 1, QUIET), None),
        (Call().look(2).hear(5, LOUD).hear(200, QUIET, count=1).hear(SILENCE_S + 1, QUIET), Reason.SILENCE),
        # A count that is missing changes nothing.
        (Call().look(2).hear(60, QUIET).hear(41, QUIET, count=None), Reason.SILENCE),
        (Call().look(2).hear(60, QUIET).hear(41, QUIET, count=0), Reason.SILENCE),
        # Of a time in which nobody looked, nobody knows.
        (Call().look(2).hear(60, QUIET).miss(GAP_S + 1).hear(SILENCE_S - 1, QUIET), None),
        (Call().look(2).hear(60, QUIET).miss(GAP_S - 1).hear(SILENCE_S - 61, QUIET), Reason.SILENCE),
        (Call().look(2).hear(60, QUIET).see(GAP_S + 1, TIMED_OUT).hear(SILENCE_S - 1, QUIET), None),
        # A page that counts anew says nothing for a moment.
        (Call().look(2).hear(60, QUIET).start_anew().hear(SILENCE_S - 1, QUIET), None),
        (Call().look(2).hear(60, QUIET).start_anew().hear(SILENCE_S + 1, QUIET), Reason.SILENCE),
        # Dialogs cover the meeting, not the sound.
        (Call().look(2).hear(SILENCE_S - 5, QUIET).look(None, Screen.UNKNOWN).hear(6, QUIET), Reason.SILENCE),
    ],
)
def test_silence_is_what_was_listened_to_without_a_voice(call: Call, reason: Reason | None) -> None:
    assert call.reason is reason


def inside(media: str, count: int | None = 2, media_packets: int = 0, audio_packets: int = 0) -> Seen:
    return Seen(Screen.IN_MEETING, "", count, audio_packets, media=media, media_packets=media_packets)


def looks(*parts: tuple[float, Observation]) -> Story:
    """For so many seconds each."""
    call = Call()
    for seconds, observation in parts:
        call.see(seconds, observation)
    return call.story


def reason_of(parts: Iterable[tuple[float, Observation]]) -> Reason | None:
    limits = msgspec.structs.replace(LIMITS, noone_joined_s=1e5, everyone_left_s=1e5)
    return ends_for(looks(*parts), limits)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([(NO_MEDIA_S - 1, inside("connected"))], None),
        ([(NO_MEDIA_S + 1, inside("connected"))], Reason.NO_MEDIA),
        ([(NO_MEDIA_S + 100, inside("connected", 1))], None),
        ([(NO_MEDIA_S + 100, inside("connected", None))], None),
        ([(NO_MEDIA_S + 100, inside(""))], None),  # the page gets its media by other ways
        ([(500, inside("connected", 1)), (NO_MEDIA_S - 1, inside("connected"))], None),
        ([(500, inside("connected")), (5, inside("connected", None)), (96, inside("connected"))], Reason.NO_MEDIA),
        ([(500, inside("connected")), (5, inside("connected", 1)), (500, inside("connected"))], None),
        ([(1, inside("connected", 2, 7)), (NO_MEDIA_S + 100, inside("connected"))], None),
        ([(1, inside("connected", 2, 0, 7)), (NO_MEDIA_S + 100, inside("connected"))], None),
        ([(500, inside("connected")), (1, inside("connected", 2, 1)), (500, inside("connected", 2, 1))], None),
    ],
)
def test_nothing_received_at_all_is_no_media(parts: list[tuple[float, Observation]], reason: Reason | None) -> None:
    assert reason_of(parts) is reason


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([(ICE_S - 1, inside("connecting"))], None),
        ([(ICE_S + 1, inside("connecting"))], Reason.ICE_FAILED),
        ([(ICE_S + 1, inside("failed"))], Reason.ICE_FAILED),
        ([(20, inside("connecting")), (11, inside("failed"))], Reason.ICE_FAILED),
        ([(20, inside("connecting")), (1, inside("connected")), (ICE_S + 100, inside("connecting"))], None),
        ([(1, inside("connected")), (ICE_S + 1, inside("failed"))], Reason.ICE_FAILED),
        ([(1, inside("connected")), (20, inside("failed")), (11, inside("connecting"))], Reason.ICE_FAILED),
        ([(1, inside("connected")), (20, inside("failed")), (1, inside("connected")), (20, inside("failed"))], None),
        ([(ICE_S + 100, inside(""))], None),  # a page without any connection has none that failed
        ([(20, inside("connecting")), (1, inside("")), (20, inside("connecting"))], None),
        ([(ICE_S + 100, inside("connecting", 1))], None),  # some connect only when somebody else is there
        ([(ICE_S + 100, inside("failed", None))], None),
        ([(100, inside("connecting", 1)), (ICE_S - 1, inside("connecting"))], None),
        ([(100, inside("connecting", 1)), (ICE_S + 1, inside("connecting"))], Reason.ICE_FAILED),
        ([(20, inside("connecting")), (9, UNKNOWN), (20, inside("connecting"))], None),
        ([(5, LOBBY), (20, inside("connecting")), (GAP_S + 1, TIMED_OUT), (20, inside("connecting"))], None),
    ],
)
def test_a_connection_that_does_not_come_about_is_failed_ice(
    parts: list[tuple[float, Observation]], reason: Reason | None
) -> None:
    assert reason_of(parts) is reason
