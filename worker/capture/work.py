"""What the process is asked for that makes one file of a recording (remux.py), and what it answers. Only shapes: the
agent does not load what that process does.
"""

import msgspec


class Stream(msgspec.Struct, frozen=True):
    """A part: the file that it is in, and where in the recording it begins. `anchors`: what its own clock said, and the
    wall's, in order; seconds from its beginning. `ends_s`: how long it is by the wall's.
    """

    path: str
    media_s: float
    anchors: list[tuple[float, float]] = []
    ends_s: float = 0.0


class Work(msgspec.Struct, frozen=True):
    streams: list[Stream]
    out: str
    memory_mb: int


class Made(msgspec.Struct, frozen=True):
    """`unreadable`: places in `streams` that could not be read to their end. `dbfs`: of left and right; empty for
    silence."""

    duration_s: float
    filled_s: float
    unreadable: list[int]
    loudness_lufs: float | None
    dbfs: list[float | None]
