"""The order that the encoding process (process.py) gets, and its answer. Only shapes, so that the caller does not load
the encoder.
"""

import msgspec


class Order(msgspec.Struct, frozen=True):
    """Encode `source` into `out`, which are paths. `kbps`: kilobits a second. `memory_mb`: how much memory the process
    may use.
    """

    source: str
    out: str
    kbps: int
    memory_mb: int


class Made(msgspec.Struct, frozen=True):
    """`duration_s`: how much sound was decoded and encoded."""

    duration_s: float
