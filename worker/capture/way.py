"""What every way to record has in common: how a recorder begins, and what it gives.

There are two: a tab beside the meeting's (tab.py), and the worker's virtual display with its sound server
(on_display.py). A recorder goes on without the agent, and keeps numbered chunks until the agent has confirmed them.
"""

import binascii
from typing import Final, NamedTuple, Protocol, Self

import msgspec
from playwright.async_api import Page

from common.config.settings import CaptureSettings
from common.wire.manifest import GapCause, Kind
from common.wire.manifest import Way as WayName
from worker.capture.clock import Clock
from worker.chromium.driver import PAGE_ERRORS

MOST_AT_ONCE: Final = 60  # chunks: a megabyte of sound, five of pictures
PAUSED: Final = "paused"
FULL: Final = "full"
ASKED: Final = "asked"
GONE: Final = "gone"

CAPTURE_ERRORS: Final = (OSError, *PAGE_ERRORS, msgspec.DecodeError, binascii.Error)
"""What a call to a recorder may raise. TimeoutError is an OSError."""


class CaptureOptions(NamedTuple):
    """What to record, and how: in kilobits a second, pixels, pictures a second."""

    kinds: tuple[Kind, ...]
    audio_kbps: int
    video_kbps: int
    width: int
    height: int
    fps: int

    @classmethod
    def of(cls, kinds: tuple[Kind, ...], settings: CaptureSettings) -> Self:
        width, _, height = settings.video_size.partition("x")
        return cls(kinds, settings.audio_kbps, settings.video_kbps, int(width), int(height), settings.video_fps)


class Start(NamedTuple):
    """How a recorder begins. `buffer_s`: how much of each kind it keeps for the agent. `chunk_ms`: how long a chunk of
    sound is. `parts`, `seq`: the numbers of the first parts and the first chunk. `cause`: of the gap before it.
    `paused`: it records nothing until `resume`. `clock`: of all times that it gives.
    """

    options: CaptureOptions
    buffer_s: int
    chunk_ms: int
    parts: dict[Kind, int]
    seq: int
    cause: GapCause | None
    paused: bool
    clock: Clock


class Chunk(NamedTuple):
    """A chunk of a part. Times `..._at` are epoch seconds; `at`: when it was complete."""

    seq: int
    kind: Kind
    part: int
    part_at: float
    at: float
    media_s: float
    content: bytes
    cause: GapCause | None


class Pulled(NamedTuple):
    """`waiting`: how many chunks the recorder has, with these. `stopped`: for each kind why it is no longer recorded;
    empty while it is. PAUSED, FULL, ASKED, GONE (with the browser), "tab" or "recorder" (which of them was lost).
    `level`: of the loudest moment since the last pull, root mean square.
    """

    chunks: list[Chunk]
    waiting: int
    stopped: dict[Kind, str]
    level: float


class Recorder(Protocol):
    """Every call has a deadline. It raises one of CAPTURE_ERRORS if the recorder does not answer."""

    async def pull(self, confirmed: int, wanted: int, cause: GapCause | None) -> Pulled:
        """The oldest chunks from `confirmed` on, at most `wanted`. The recorder drops earlier ones. `cause`: why nobody
        fetched chunks, if the recorder stopped because its buffer was full; without one it does not begin anew.
        """
        ...

    async def pause(self) -> None:
        """Record nothing more until `resume`. The chunks so far can still be pulled. Both calls are idempotent."""
        ...

    async def resume(self, cause: GapCause) -> None:
        """Record again, in a new part of each kind. `cause`: of the gap before it."""
        ...

    async def stop(self) -> None:
        """Record nothing more. All chunks so far can be pulled. Idempotent."""
        ...

    async def close(self) -> None:
        """Throw it away, with all that it still has."""
        ...


class Way(Protocol):
    """`name`: as the manifest has it. `label`: as the bot's story has it. Both calls raise CAPTURE_ERRORS."""

    @property
    def name(self) -> WayName: ...

    @property
    def label(self) -> str: ...

    async def find(self, page: Page | None) -> Recorder | None:
        """The recorder of this bot, if there is one; perhaps an earlier agent opened it."""
        ...

    async def open(self, page: Page, start: Start) -> Recorder:
        """A new recorder, which records from then on what is seen and heard of the meeting's `page`."""
        ...
