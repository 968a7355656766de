"""The manifest of a recording (`manifest.json`), for both programs and other readers. Only shapes; no behaviour.

It is stored as `BOT_ID/ATTEMPT/manifest.json` below the store's prefix, next to the files that it names. While the
meeting runs, `progress.json` has the same shape with `finished` false, and `progress-NNNNNN.json` what is new since
then: all parts and gaps, and the segments after the first NNNNNN. Wall-clock times are epoch seconds of the
agent's VM. Media times are seconds from `began_at`.
"""

from typing import Final, Literal

import msgspec

from common.wire.minutes import Turn

VERSION: Final = 1
FINAL: Final = "manifest.json"
PROGRESS: Final = "progress.json"
SET_ASIDE: Final = "manifest-unreadable.json"
AUDIO: Final = "audio.ogg"
M4A: Final = "audio.m4a"
VIDEO: Final = "video.mp4"
WAVEFORM: Final = "waveform.json"
THUMBNAILS: Final = "thumbnails.jpg"
DELETED: Final = "deleted"
_DIGITS: Final = 16

Kind = Literal["audio", "video", "tracks"]
"""What is recorded: each kind has parts, segments and gaps of its own. `tracks`: the packets of each sound track that
the page received, as they came.
"""

Way = Literal[
    "recorder_tab",  # a tab beside the meeting's
    "display",  # an ffmpeg, from the worker's virtual display and sound server
]
"""How sound and picture are captured."""

GapCause = Literal[
    "late",  # the recorder began after the bot was in or was told to go on, or was behind when the bot left
    "agent_away",  # no agent fetched from the recorder for longer than it keeps
    "spool_full",  # the store took nothing until capture.spool_mb and the recorder's buffer were full
    "disk_full",  # the VM's disk was full
    "tab_lost",  # the meeting's page crashed
    "recorder_lost",  # the recorder's tab ended
    "browser_gone",
    "vm_lost",  # the VM with its disk is gone, and this was not in the store
    "silent",  # nothing but silence was recorded while the meeting's connections received sound
    "paused",  # somebody asked for it
    "damaged",  # a stored segment has changed, or cannot be played; or the VM's disk lost it
    "refused",  # the meeting did not permit recording. Of tracks also: the page does not let their packets be taken
]


class Shape(msgspec.Struct, frozen=True, omit_defaults=True):
    pass


class Gap(Shape, frozen=True):
    """A time in which nothing of that kind was recorded, by the wall clock, and its cause."""

    began_at: float
    ended_at: float
    cause: GapCause
    kind: Kind = "audio"


class Part(Shape, frozen=True):
    """A stream that can be played from its first byte: its segments joined in order. A new part begins after each gap.
    Parts are numbered by kind. `way`: how it was captured, if not as the manifest says.
    """

    number: int
    began_at: float
    kind: Kind = "audio"
    way: Way | None = None


class Segment(Shape, frozen=True):
    """Some seconds of a part. `sequence`: by kind. `path`: relative to the manifest. `media_s`: where in the recording
    it begins.
    """

    sequence: int
    part: int
    path: str
    media_s: float
    began_at: float
    ended_at: float
    bytes: int
    sha256: str
    kind: Kind = "audio"


class Audio(Shape, frozen=True):
    """The one audio file of a recording. `loudness_lufs`: integrated loudness by EBU R128; None for silence.
    `left_dbfs`, `right_dbfs`: root mean square. `filled_s`: how much silence fills its gaps; `mended_s`: how much sound
    of the tracks does.
    """

    path: str
    bytes: int
    sha256: str
    duration_s: float
    filled_s: float = 0.0
    loudness_lufs: float | None = None
    left_dbfs: float | None = None
    right_dbfs: float | None = None
    mended_s: float = 0.0


class Video(Shape, frozen=True):
    """The one file of the picture, and of the sound if there is any. `pictures`: how many it has; `fps`: their rate
    where something was recorded. `damaged`: pictures that a player cannot decode.
    """

    path: str
    bytes: int
    sha256: str
    duration_s: float
    codec: str
    width: int
    height: int
    pictures: int
    fps: float
    damaged: int = 0


class SoundTrack(Shape, frozen=True):
    """One sound track that the page received, in a file of its own that begins when the recording does. `id`: as the
    page has it. `began_at`: when its first packet came. `packets`: how many there are; the rest is silence. `voice_s`:
    for how long it has voice.

    `speaker`: whose it is, by whom the page marked as speaking, with the id that the page has. Empty: that is unknown,
    or several people take turns on it: `turns`. `share`: the part of its voice for which the page says so, where no
    other track was nearly as loud.
    """

    path: str
    bytes: int
    sha256: str
    id: str
    began_at: float
    duration_s: float
    packets: int
    voice_s: float = 0.0
    speaker_id: str = ""
    speaker: str = ""
    share: float = 0.0
    turns: list[Turn] = []


class Waveform(Shape, frozen=True):
    """The file of the sound's Peaks, which has so many columns. `column_s`: how much of the recording each is of."""

    path: str
    bytes: int
    sha256: str
    columns: int
    column_s: float


class Peaks(Shape, frozen=True):
    """The loudest sample of each column, 0 to 1 of full scale. The first column begins when the recording does."""

    column_s: float
    left: list[float]
    right: list[float]


class Thumbnails(Shape, frozen=True):
    """A JPEG of `count` small pictures side by side, of `width` and `height` each. Picture n (from 0) is what the video
    shows at (n + 0.5) * `every_s`.
    """

    path: str
    bytes: int
    sha256: str
    count: int
    width: int
    height: int
    every_s: float


class Screenshot(Shape, frozen=True):
    """A JPEG of what the video shows at `at_s`."""

    path: str
    bytes: int
    sha256: str
    at_s: float
    width: int
    height: int


Stored = Audio | Video | SoundTrack | Waveform | Thumbnails | Screenshot
"""A file that a manifest names."""


class Manifest(Shape, frozen=True):
    """`way`: how sound and picture were captured, where a part says nothing else. `kinds`: what was to be recorded.
    `audio`, `video`: None until they are made, and if nothing was recorded. `tracks`: one for each sound track, in the
    order in which they began. `waveform`, `thumbnails`: what the sound and the picture look like at a glance.
    `screenshots`: in order. `wall_ahead_s`: while it goes on, how far the VM's wall clock was set forward since
    `began_at`; less than 0 if it was set back.
    """

    version: int
    bot_id: str
    attempt: int
    platform: str
    began_at: float
    ended_at: float | None
    finished: bool
    way: Way = "recorder_tab"
    kinds: tuple[Kind, ...] = ("audio",)
    codec: str = "opus"
    sample_rate: int = 48_000
    channels: int = 2
    parts: list[Part] = []
    segments: list[Segment] = []
    gaps: list[Gap] = []
    audio: Audio | None = None
    video: Video | None = None
    tracks: list[SoundTrack] = []
    waveform: Waveform | None = None
    thumbnails: Thumbnails | None = None
    screenshots: list[Screenshot] = []
    wall_ahead_s: float = 0.0


def named_by_content(made: str, sha256: str) -> str:
    """The name in the store of what was made as `made`. It says the content, so that nothing which two agents make of
    one recording ever replaces the other's: a manifest is true of its files whoever puts what when.
    """
    stem, _, suffix = made.rpartition(".")
    return f"{stem}-{sha256[:_DIGITS]}.{suffix}"


def progress_after(segments: int) -> str:
    """The name of what is new after that many segments."""
    return f"progress-{segments:06d}.json"


def deleted(bot_id: str) -> str:
    """The object that says that the bot was deleted. An agent that still has something of the bot deletes it."""
    return f"{bot_id}/{DELETED}"


def folder(bot_id: str, attempt: int) -> str:
    return f"{bot_id}/{attempt}"


def encode(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def decode(data: bytes) -> Manifest:
    """Raises: msgspec.DecodeError (a ValueError)."""
    return msgspec.json.decode(data, type=Manifest)
