"""What the media tell of the others: whether anything comes from them at all, and since when nobody speaks. Pure.

`hear(hearing, seen, now, others=...)` compares what was received with the look before. Only what was looked at without
a gap counts: of a time in which nobody looked, nobody knows whether it was silent.
"""

import math
from typing import Final

import msgspec
from msgspec.structs import replace

from worker.decide.words import Seen

# -50 dBFS. The comfort noise of a muted line lies below -60, speech from the far end of a table above -40; half a
# second of it, pauses included, loses some of that. Vexa gates decoded audio at 0.005.
VOICE_LEVEL: Final = 0.003
GAP_S: Final = 6.0  # between two looks, above the default of worker.page_timeout_s


class Hearing(msgspec.Struct, frozen=True):
    """`quiet_since`, `unheard_since`, `cut_since`: since when nobody spoke, somebody did by the page and nothing came
    over a connection, no connection came about, in each case with others there; None: it is not so, or is not known.
    """

    at: float | None = None  # of the last look
    audio_packets: int = 0
    energy: float | None = None
    audio_s: float = 0.0
    told_energy: float | None = None  # and `told_audio_s`: at the last report
    told_audio_s: float = 0.0
    has_heard: bool = False  # audio, ever
    has_received: bool = False  # anything, ever
    was_connected: bool = False
    voice_at: float | None = None  # when somebody was heard to speak
    speaker: str = ""  # whom the page named last
    quiet_since: float | None = None
    unheard_since: float | None = None
    deaf_since: float | None = None  # `unheard_since` if somebody has just begun to speak, and was not heard either
    cut_since: float | None = None


def hear(hearing: Hearing, seen: Seen, now: float, *, others: bool | None) -> Hearing:
    """`others`: whether anybody else is there; None: the page does not say."""
    if hearing.at is None or now - hearing.at > GAP_S:
        hearing = replace(hearing, at=now, energy=None, quiet_since=None, unheard_since=None, cut_since=None)
    hearing = replace(
        hearing,
        has_heard=hearing.has_heard or seen.audio_packets > 0,
        has_received=hearing.has_received or seen.media_packets > 0 or seen.audio_packets > 0,
        was_connected=hearing.was_connected or seen.media == "connected",
    )
    loudness = _level(hearing.energy, hearing.audio_s, seen.audio_energy, seen.audio_s)
    is_quiet = _is_quiet(hearing, seen, loudness, others=others)
    speaks = hearing.speaker != "" and seen.speaker not in ("", hearing.speaker)
    unheard_since = _since(hearing.unheard_since, now, is_so=_is_unheard(hearing, seen, speaks=speaks, others=others))
    return replace(
        hearing,
        at=now,
        audio_packets=seen.audio_packets,
        energy=seen.audio_energy,
        audio_s=seen.audio_s,
        voice_at=now if loudness is not None and loudness >= VOICE_LEVEL else hearing.voice_at,
        speaker=seen.speaker or hearing.speaker,
        quiet_since=_since(hearing.quiet_since, hearing.at, is_so=is_quiet),
        unheard_since=unheard_since,
        deaf_since=unheard_since if speaks else None,
        cut_since=_since(hearing.cut_since, now, is_so=_is_cut(hearing, seen, others=others)),
    )


def level(hearing: Hearing) -> float | None:
    """Of what was received since it was last told (`told`), root mean square, 0 to 1; None: the media do not tell."""
    return _level(hearing.told_energy, hearing.told_audio_s, hearing.energy, hearing.audio_s)


def told(hearing: Hearing) -> Hearing:
    return replace(hearing, told_energy=hearing.energy, told_audio_s=hearing.audio_s)


def _is_quiet(hearing: Hearing, seen: Seen, loudness: float | None, *, others: bool | None) -> bool:
    """Those who are muted send nothing, and a platform may go on in their place with silence: both are quiet. A
    connection that is down is not: nobody knows who speaks beyond it.
    """
    if not hearing.has_heard or others is False or seen.media in ("connecting", "failed"):
        return False
    arrived_unplayed = seen.audio_s == hearing.audio_s and seen.audio_packets > hearing.audio_packets
    return loudness is not None and loudness < VOICE_LEVEL and not arrived_unplayed


def _is_unheard(hearing: Hearing, seen: Seen, *, speaks: bool, others: bool | None) -> bool | None:
    """Only another speaker proves that there is anything to receive: where all are muted, cameras off, nothing is. The
    first one named proves nothing: some pages go on naming who spoke before the bot came.
    """
    if hearing.has_received or seen.media != "connected" or others is False:
        return False
    return True if speaks and others else None


def _is_cut(hearing: Hearing, seen: Seen, *, others: bool | None) -> bool | None:
    match seen.media:
        case "failed":
            return others
        case "connecting":  # one that was connected before is being mended by the page
            return None if hearing.was_connected else others
        case _:
            return False


def _level(energy_before: float | None, s_before: float, energy: float | None, audio_s: float) -> float | None:
    if energy is None or energy_before is None or energy < energy_before or audio_s < s_before:
        return None
    return min(math.sqrt((energy - energy_before) / (audio_s - s_before)), 1.0) if audio_s > s_before else 0.0


def _since(before: float | None, start: float | None, *, is_so: bool | None) -> float | None:
    """`is_so` None: as before, whatever that was."""
    if is_so is False:
        return None
    return start if before is None and is_so else before
