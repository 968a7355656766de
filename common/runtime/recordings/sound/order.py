"""What the process is asked for that encodes sound (process.py), and what it answers. Only shapes: whoever asks does
not load what that process does.
"""

import msgspec


class Order(msgspec.Struct, frozen=True):
    """Encode `source` into `out`, which are paths. `kbps`: kilobits a second. `memory_mb`: what the process may
    take.
    """

    source: str
    out: str
    kbps: int
    memory_mb: int


class Made(msgspec.Struct, frozen=True):
    """`duration_s`: how much sound was decoded and encoded."""

    duration_s: float
