"""What media arrived from the other participants: whether anything arrived at all, and since when nobody speaks. Pure.

`note_media(received, seen, now, others=...)` compares one look at the page with the look before. A pause of more than
GAP_S between two looks ends the comparison: whether that pause was silent is unknown, so it does not count as silence.
"""

import math
from typing import Final

import msgspec
from msgspec.structs import replace

from worker.decide.words import Seen

# -50 dBFS. The comfort noise of a muted line lies below -60, speech from the far end of a table above -40. Half a
# second of speech, pauses included, measures lower than its peaks. Vexa gates decoded audio at 0.005.
VOICE_LEVEL: Final = 0.003
GAP_S: Final = 6.0  # between two looks, above the default of worker.page_timeout_s


class ReceivedMedia(msgspec.Struct, frozen=True):
    """The media counters at the last look, and since when something is missing (monotonic seconds).

    Each `..._since` field counts only while other participants are there. It is None while the condition does not hold
    or is unknown. `quiet_since`: nobody spoke. `nothing_received_since`: the page names a speaker, its connections are
    up, and no packet arrived. `no_media_since`: the same time, set only by a look at which another speaker had just
    begun. `unconnected_since`: no media connection came about.
    """

    at: float | None = None  # of the last look
    audio_packets: int = 0
    energy: float | None = None
    audio_s: float = 0.0
    reported_energy: float | None = None  # `energy` at the last report
    reported_audio_s: float = 0.0  # `audio_s` at the last report
    has_heard: bool = False  # audio arrived at least once
    has_received: bool = False  # any packet arrived at least once
    was_connected: bool = False
    voice_at: float | None = None  # when the level last was that of a voice
    speaker: str = ""  # whom the page named last
    quiet_since: float | None = None
    nothing_received_since: float | None = None
    no_media_since: float | None = None
    unconnected_since: float | None = None


def note_media(received: ReceivedMedia, seen: Seen, now: float, *, others: bool | None) -> ReceivedMedia:
    """`received` after one more look. `others`: whether anybody else is there; None: the page does not say."""
    if received.at is None or now - received.at > GAP_S:
        received = replace(
            received, at=now, energy=None, quiet_since=None, nothing_received_since=None, unconnected_since=None
        )
    received = replace(
        received,
        has_heard=received.has_heard or seen.audio_packets > 0,
        has_received=received.has_received or seen.media_packets > 0 or seen.audio_packets > 0,
        was_connected=received.was_connected or seen.media == "connected",
    )
    level = _level(received.energy, received.audio_s, seen.audio_energy, seen.audio_s)
    is_quiet = _is_quiet(received, seen, level, others=others)
    speaker_changed = received.speaker != "" and seen.speaker not in ("", received.speaker)
    is_nothing_received = _is_nothing_received(received, seen, speaker_changed=speaker_changed, others=others)
    nothing_received_since = _since(received.nothing_received_since, now, is_so=is_nothing_received)
    return replace(
        received,
        at=now,
        audio_packets=seen.audio_packets,
        energy=seen.audio_energy,
        audio_s=seen.audio_s,
        voice_at=now if level is not None and level >= VOICE_LEVEL else received.voice_at,
        speaker=seen.speaker or received.speaker,
        quiet_since=_since(received.quiet_since, received.at, is_so=is_quiet),
        nothing_received_since=nothing_received_since,
        no_media_since=nothing_received_since if speaker_changed else None,
        unconnected_since=_since(received.unconnected_since, now, is_so=_is_unconnected(received, seen, others=others)),
    )


def unreported_level(received: ReceivedMedia) -> float | None:
    """The level since the last `mark_reported`: root mean square, 0 to 1. None: the page does not say."""
    return _level(received.reported_energy, received.reported_audio_s, received.energy, received.audio_s)


def mark_reported(received: ReceivedMedia) -> ReceivedMedia:
    return replace(received, reported_energy=received.energy, reported_audio_s=received.audio_s)


def _is_quiet(received: ReceivedMedia, seen: Seen, level: float | None, *, others: bool | None) -> bool:
    """A muted participant sends nothing, and some platforms send silence instead: both are quiet. While the connection
    is down nothing is known of who speaks, so that is not quiet.
    """
    if not received.has_heard or others is False or seen.media in ("connecting", "failed"):
        return False
    arrived_unplayed = seen.audio_s == received.audio_s and seen.audio_packets > received.audio_packets
    return level is not None and level < VOICE_LEVEL and not arrived_unplayed


def _is_nothing_received(
    received: ReceivedMedia, seen: Seen, *, speaker_changed: bool, others: bool | None
) -> bool | None:
    """Only a change of speaker proves that there is something to receive. In a call where all are muted with cameras
    off nothing arrives either. The first speaker named proves nothing: some pages still show who spoke before the bot
    came.
    """
    if received.has_received or seen.media != "connected" or others is False:
        return False
    return True if speaker_changed and others else None


def _is_unconnected(received: ReceivedMedia, seen: Seen, *, others: bool | None) -> bool | None:
    match seen.media:
        case "failed":
            return others
        case "connecting":  # if it was connected before, the page reconnects by itself, and nothing is concluded
            return None if received.was_connected else others
        case _:
            return False


def _level(energy_before: float | None, s_before: float, energy: float | None, audio_s: float) -> float | None:
    if energy is None or energy_before is None or energy < energy_before or audio_s < s_before:
        return None
    return min(math.sqrt((energy - energy_before) / (audio_s - s_before)), 1.0) if audio_s > s_before else 0.0


def _since(before: float | None, start: float | None, *, is_so: bool | None) -> float | None:
    """When the condition began, given when it began by the look before. `is_so` None: unknown, so nothing changes."""
    if is_so is False:
        return None
    return start if before is None and is_so else before
