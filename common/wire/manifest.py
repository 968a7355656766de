"""What a recording holds, as both programs and its readers know it: `manifest.json`. Only shapes; no behaviour.

Where it lies is `BOT_ID/ATTEMPT/manifest.json` below the store's prefix, and beside it everything that it names. While
the meeting runs there is `progress.json` instead, of the same shape, with `finished` false. Times of the wall clock are
epoch seconds of the agent's VM. Times called media are seconds from `began_at`.
"""

from typing import Final, Literal

import msgspec

VERSION: Final = 1
FINAL: Final = "manifest.json"
PROGRESS: Final = "progress.json"
AUDIO: Final = "audio.ogg"

GapCause = Literal[
    "late",  # the recorder began so long after the bot was in
    "agent_away",  # nobody fetched from the recorder for longer than it keeps
    "spool_full",  # the store took nothing for so long that capture.spool_mb was reached, and the recorder's own room
    "disk_full",  # the VM's disk took nothing
    "tab_lost",  # the meeting's page crashed, and with it what it sounds like
    "recorder_lost",  # the page that records was ended
    "browser_gone",
    "silent",  # nothing but silence was recorded while the meeting's connections received sound
    "damaged",  # a segment that was stored is not what it was, or cannot be played
]


class Shape(msgspec.Struct, frozen=True, omit_defaults=True):
    pass


class Gap(Shape, frozen=True):
    """From when to when nothing was recorded, on the wall clock, and why."""

    began_at: float
    ended_at: float
    cause: GapCause


class Part(Shape, frozen=True):
    """A stream that plays from its first byte on: its segments joined in order. Begins anew after each gap."""

    number: int
    began_at: float


class Segment(Shape, frozen=True):
    """Some seconds of a part. `path`: relative to the manifest. `media_s`: where in the recording it begins."""

    sequence: int
    part: int
    path: str
    media_s: float
    began_at: float
    ended_at: float
    bytes: int
    sha256: str


class Audio(Shape, frozen=True):
    """The one file of it. `loudness_lufs`: integrated, EBU R128; None where there is nothing to hear. `left_dbfs`,
    `right_dbfs`: root mean square. `filled_s`: how much silence stands in for what is missing.
    """

    path: str
    bytes: int
    sha256: str
    duration_s: float
    filled_s: float = 0.0
    loudness_lufs: float | None = None
    left_dbfs: float | None = None
    right_dbfs: float | None = None


class Manifest(Shape, frozen=True):
    """`way`: by which path the sound came. `audio`: None until it is made, and where there is nothing to make it of."""

    version: int
    bot_id: str
    attempt: int
    platform: str
    began_at: float
    ended_at: float | None
    finished: bool
    way: str = "recorder_tab"
    codec: str = "opus"
    sample_rate: int = 48_000
    channels: int = 2
    parts: list[Part] = []
    segments: list[Segment] = []
    gaps: list[Gap] = []
    audio: Audio | None = None


def folder(bot_id: str, attempt: int) -> str:
    return f"{bot_id}/{attempt}"


def encode(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def decode(data: bytes) -> Manifest:
    """Raises: msgspec.DecodeError (a ValueError)."""
    return msgspec.json.decode(data, type=Manifest)
