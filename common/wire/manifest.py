"""The manifest of a recording (`manifest.json`), for both programs and other readers. Only shapes; no behaviour.

It is stored as `BOT_ID/ATTEMPT/manifest.json` below the store's prefix, next to the files that it names. While the
meeting runs, `progress.json` has the same shape with `finished` false. Wall-clock times are epoch seconds of the
agent's VM. Media times are seconds from `began_at`.
"""

from typing import Final, Literal

import msgspec

VERSION: Final = 1
FINAL: Final = "manifest.json"
PROGRESS: Final = "progress.json"
AUDIO: Final = "audio.ogg"

GapCause = Literal[
    "late",  # the recorder began after the bot was in
    "agent_away",  # no agent fetched from the recorder for longer than it keeps
    "spool_full",  # the store took nothing until capture.spool_mb and the recorder's buffer were full
    "disk_full",  # the VM's disk was full
    "tab_lost",  # the meeting's page crashed
    "recorder_lost",  # the recorder's tab ended
    "browser_gone",
    "silent",  # only silence was recorded while the meeting received sound
    "damaged",  # a stored segment was changed, or cannot be played
]


class Shape(msgspec.Struct, frozen=True, omit_defaults=True):
    pass


class Gap(Shape, frozen=True):
    """A time in which nothing was recorded (wall clock), and why."""

    began_at: float
    ended_at: float
    cause: GapCause


class Part(Shape, frozen=True):
    """A playable stream: its segments joined in order. A new part begins after each gap."""

    number: int
    began_at: float


class Segment(Shape, frozen=True):
    """Some seconds of a part. `path`: relative to the manifest. `media_s`: where it begins in the recording."""

    sequence: int
    part: int
    path: str
    media_s: float
    began_at: float
    ended_at: float
    bytes: int
    sha256: str


class Audio(Shape, frozen=True):
    """The one audio file of a recording. `loudness_lufs`: integrated loudness by EBU R128; None for silence.
    `left_dbfs`, `right_dbfs`: root mean square. `filled_s`: how much silence fills its gaps.
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
    """A recording. `way`: how the sound was captured. `audio`: None until the file is made, or if nothing was
    recorded.
    """

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
