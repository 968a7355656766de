"""The packets of sound tracks, as they are stored: a JSON object a line, of a second each. Only shapes."""

import msgspec


class Packets(msgspec.Struct, frozen=True):
    """Of one track. `id`: as the page has it. Of each packet: when it came (ms), its RTP time, and itself in base64."""

    track: int
    id: str
    packets: list[tuple[float, int, str]]


class Line(msgspec.Struct, frozen=True):
    """What came within a second. `at`: when it ended, in ms."""

    at: float
    tracks: list[Packets]
