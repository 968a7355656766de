"""What the media tell: silence, nothing received, no connection; and what does not tell it. Through the lifecycle."""

from collections.abc import Iterable
from typing import Final

import msgspec
import pytest

from common.wire.vocabulary import Reason
from tests.worker.decide.stories import LIMITS, LOBBY, TIMED_OUT, UNKNOWN, Story, ends_for
from worker.decide.deadlines import ICE_S, NO_MEDIA_S
from worker.decide.received_media import GAP_S, VOICE_LEVEL
from worker.decide.words import Observation, Screen, Seen

LOUD: Final = 0.1
QUIET: Final = VOICE_LEVEL / 2
TURN_S: Final = 1.0  # from one look to the next


class Call:
    """A meeting looked at once a second, with what was received so far."""

    def __init__(self) -> None:
        self.now = 1.0
        self.story: list[tuple[float, Observation]] = []
        self._packets = 0
        self._energy: float | None = 0.0
        self._audio_s = 0.0

    def hear(
        self,
        seconds: float,
        level: float | None,
        *,
        count: int | None = 2,
        packets: int = 25,
        screen: Screen = Screen.IN_MEETING,
        media: str = "connected",
    ) -> "Call":
        for _ in range(int(seconds / TURN_S)):
            self.now += TURN_S
            self._packets += packets
            self._audio_s += TURN_S if packets else 0.0
            self._energy = None if level is None or self._energy is None else self._energy + level**2 * TURN_S
            self.look(count, screen, media)
        return self

    def receive_unplayed(self, seconds: float) -> "Call":
        for _ in range(int(seconds / TURN_S)):
            self.now += TURN_S
            self._packets += 25
            self.look(2)
        return self

    def look(self, count: int | None, screen: Screen = Screen.IN_MEETING, media: str = "connected") -> "Call":
        seen = Seen(
            screen,
            "meeting",
            count,
            self._packets,
            media_packets=self._packets,
            audio_energy=self._energy,
            audio_s=self._audio_s,
            media=media,
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
EVERYONE_LEFT_S: Final = int(LIMITS.everyone_left_s)
NOONE_JOINED_S: Final = int(LIMITS.noone_joined_s)


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
        # The lobby is quiet, and no part of the meeting.
        (Call().look(2).hear(80, QUIET).hear(29, 0.0, count=None, packets=0, screen=Screen.WAITING_ROOM), None),
        # Whoever speaks beyond a connection that is down is not heard.
        (Call().look(2).hear(5, LOUD).hear(2 * SILENCE_S, 0.0, packets=0, media="connecting"), None),
        (Call().look(2).hear(60, QUIET).hear(20, 0.0, packets=0, media="failed").hear(SILENCE_S - 1, QUIET), None),
        # Among people who send nothing there may be no connection at all.
        (Call().look(2).hear(60, QUIET).hear(SILENCE_S - 59, 0.0, packets=0, media=""), Reason.SILENCE),
        # A count that is read off a stale text: whoever is heard is there.
        (Call().look(2).hear(EVERYONE_LEFT_S + 100, LOUD, count=1), None),
        (Call().look(1).hear(NOONE_JOINED_S + 100, LOUD, count=1), None),
        (Call().look(2).hear(400, LOUD, count=1).hear(EVERYONE_LEFT_S - 1, QUIET, count=1), None),
        (Call().look(2).hear(400, LOUD, count=1).hear(EVERYONE_LEFT_S + 1, QUIET, count=1), Reason.EVERYONE_LEFT),
        (Call().look(None).hear(900, LOUD, count=None).hear(EVERYONE_LEFT_S - 1, QUIET, count=1), None),
        (Call().look(None).hear(9, LOUD, count=None).hear(EVERYONE_LEFT_S + 1, QUIET, count=1), Reason.EVERYONE_LEFT),
    ],
)
def test_silence_is_what_was_listened_to_without_a_voice(call: Call, reason: Reason | None) -> None:
    assert call.reason is reason


def inside(
    media: str, count: int | None = 2, media_packets: int = 0, audio_packets: int = 0, speaker: str = ""
) -> Seen:
    return Seen(Screen.IN_MEETING, "", count, audio_packets, media=media, media_packets=media_packets, speaker=speaker)


ANN: Final = inside("connected", speaker="Ann")
BOB: Final = inside("connected", speaker="Bob")


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
        # Whoever is muted, camera off, sends nothing: a call of such people is no fault, however long.
        ([(NO_MEDIA_S + 300, inside("connected", 20))], None),
        ([(NO_MEDIA_S + 300, ANN)], None),  # who spoke last, before the bot came
        ([(1, ANN), (9, BOB), (NO_MEDIA_S + 300, ANN)], None),  # ... and on the way in
        ([(1, ANN), (NO_MEDIA_S - 1, BOB), (1, ANN)], None),
        ([(1, ANN), (NO_MEDIA_S + 1, BOB), (1, ANN)], Reason.NO_MEDIA),
        ([(1, ANN), (NO_MEDIA_S, BOB), (9, inside("connected")), (1, BOB)], None),  # named again is not begun again
        ([(1, ANN), (NO_MEDIA_S, BOB), (9, inside("connected")), (1, ANN)], Reason.NO_MEDIA),
        ([(1, ANN), (NO_MEDIA_S + 100, BOB), (1, inside("connected", 1, speaker="Ann"))], None),
        ([(1, ANN), (NO_MEDIA_S + 100, BOB), (1, inside("connected", None, speaker="Ann"))], Reason.NO_MEDIA),
        ([(1, ANN), (500, BOB), (5, inside("connected", 1)), (500, BOB), (1, ANN)], None),
        ([(1, ANN), (500, BOB), (GAP_S + 1, TIMED_OUT), (500, BOB), (1, ANN)], None),
        ([(1, ANN), (NO_MEDIA_S, BOB), (1, inside("", speaker="Ann"))], None),  # its media come by other ways
        ([(1, inside("connected", 2, 7)), (1, ANN), (NO_MEDIA_S + 100, BOB), (1, ANN)], None),
        ([(1, inside("connected", 2, 0, 7)), (1, ANN), (NO_MEDIA_S + 100, BOB), (1, ANN)], None),
        ([(1, ANN), (500, BOB), (1, inside("connected", 2, 1)), (500, BOB), (1, ANN)], None),
    ],
)
def test_nothing_received_while_people_speak_in_turn_is_no_media(
    parts: list[tuple[float, Observation]], reason: Reason | None
) -> None:
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
