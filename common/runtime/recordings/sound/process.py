"""Encodes a recording's sound as AAC in an M4A, as a process: `python -m common.runtime.recordings.sound.process`. It
reads an Order on its standard input, and writes a Made on its standard output.

A recording may be damaged or hostile. In a process with limited memory it can harm neither its caller nor the machine.
"""

import os
import resource
import sys
from typing import Any, Final

import av
import av.logging
import msgspec

from common.runtime.recordings.sound.order import Made, Order

_NICENESS: Final = 10
_RATE: Final = 48_000
_OPTIONS: Final = {"movflags": "+faststart", "fflags": "+bitexact"}  # a player can start before it has the whole file


def encode(order: Order) -> Made:
    """Encode the sound. Afterwards the file is at `order.out`. Raises: av.error.FFmpegError."""
    samples = 0
    to: Any = av.open(order.out, "w", format="ipod", options=_OPTIONS)
    with av.open(order.source) as given, to as file:
        stream = file.add_stream("aac", rate=_RATE, layout="stereo")
        stream.bit_rate = order.kbps * 1000
        for frame in given.decode(audio=0):
            samples += frame.samples
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return Made(samples / _RATE)


def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    limit = order.memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    os.nice(_NICENESS)
    os.umask(0o077)
    av.logging.set_level(None)
    sys.stdout.buffer.write(msgspec.json.encode(encode(order)))


if __name__ == "__main__":
    main()
