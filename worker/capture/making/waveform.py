"""Makes the waveform of a recording while its sound file is decoded: the peaks of left and right, in columns.

How long the file is need not be known before: columns begin short, and two of them become one whenever there would be
too many.
"""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import av.error
import msgspec
from av.filter import Graph

from common.wire.manifest import Peaks
from worker.capture.making.work import WaveformReport

COLUMN_S: Final = 0.1
MOST_COLUMNS: Final = 800
_RATE: Final = 48_000
"""Of decoded Opus."""


class Waveform:
    def __init__(self) -> None:
        self._graph: Any = None
        self._column_s = COLUMN_S
        self._columns: list[tuple[float, ...]] = []
        self._next: list[tuple[float, ...]] = []  # frames of COLUMN_S that are no whole column yet
        self._is_broken = False

    def put(self, frame: Any) -> None:
        """A decoded frame; None: there are no more. An error costs the waveform, and never the file that it is of."""
        try:
            if frame is not None and self._graph is None:
                self._graph = _graph(frame)
            if self._graph and not self._is_broken:
                self._graph.push(frame)
                self._collect()
        except (av.error.FFmpegError, ValueError):
            self._is_broken = True

    def save(self, path: Path) -> WaveformReport | None:
        """Write it as JSON. None: nothing was heard, or the sound could not be measured. Raises: OSError."""
        if self._next:
            self._columns.append(_louder(self._next))
        if self._is_broken or not self._columns:
            return None
        left, right = ([column[side] for column in self._columns] for side in (0, -1))  # of mono both are the same
        path.write_bytes(msgspec.json.encode(Peaks(round(self._column_s, 1), left, right)))
        return WaveformReport(path.name, len(left), round(self._column_s, 1))

    def _collect(self) -> None:
        while True:
            try:
                measured = self._graph.pull().metadata
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            sides = (measured.get(f"lavfi.astats.{side}.Peak_level") for side in (1, 2))
            self._next.append(tuple(_full_scale(side) for side in sides if side is not None))
            if len(self._next) >= round(self._column_s / COLUMN_S):
                self._columns.append(_louder(self._next))
                self._next = []
            if len(self._columns) >= MOST_COLUMNS:
                self._columns = [_louder(self._columns[at : at + 2]) for at in range(0, MOST_COLUMNS, 2)]
                self._column_s *= 2


def _graph(frame: Any) -> Any:
    graph: Any = Graph()
    steps = [
        graph.add_abuffer(
            sample_rate=frame.sample_rate, format=frame.format.name, layout=frame.layout.name, time_base=frame.time_base
        ),
        graph.add("asetnsamples", f"n={round(COLUMN_S * _RATE)}:p=0"),
        graph.add("astats", "metadata=1:reset=1:measure_overall=none:measure_perchannel=Peak_level"),
        graph.add("abuffersink"),
    ]
    for step, following in pairwise(steps):
        step.link_to(following)
    graph.configure()
    return graph


def _full_scale(db: str) -> float:
    """A level as a part of full scale, in thousandths. Raises: ValueError."""
    level = float(db)
    return min(1.0, round(10 ** (level / 20), 3)) if math.isfinite(level) else 0.0


def _louder(columns: list[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(max(side) for side in zip(*columns, strict=True))
