"""Moves the wall clock of one Python process while it runs. With this folder on PYTHONPATH, `time.time` is off by the
number in the file CHAOS_CLOCK: eight bytes, a double. Monotonic clocks are not changed.

libfaketime would do it for every program. But if it leaves the monotonic clock alone, its clock_nanosleep (0.9.10,
Debian 12) refuses each `time.sleep` of Python 3.11 with EINVAL.
"""

import mmap
import os
import struct
import time

_true_time, _true_time_ns = time.time, time.time_ns

with open(os.environ["CHAOS_CLOCK"], "rb") as _file:
    _offset = mmap.mmap(_file.fileno(), struct.calcsize("d"), access=mmap.ACCESS_READ)


def _by_s() -> float:
    [by_s] = struct.unpack_from("d", _offset)
    return float(by_s)


time.time = lambda: _true_time() + _by_s()
time.time_ns = lambda: _true_time_ns() + round(_by_s() * 1e9)
