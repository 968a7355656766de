"""What the design allows each row, beside the row's own budgets. It is applied to what was measured whenever results
are shown, so kept results are judged by these limits, too.
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from lab.bench.report import Budget, Measurement, Run

Figure: TypeAlias = Literal["ratio", "p50", "mean"]


class Limit(NamedTuple):
    """`unit`: of the subject, which tells a row's measurements apart. `what`: of the one measurement; empty: of all."""

    row: str
    unit: str
    figure: Figure
    limit: float
    at_least: bool = False
    what: str = ""

    def concerns(self, measurement: Measurement) -> bool:
        subject = measurement.subject
        return bool(
            subject and (measurement.row, subject.unit) == (self.row, self.unit) and self.what in ("", measurement.what)
        )


LIMITS: Final = (
    Limit("dispatch", "ms", "ratio", 1.3),
    Limit("burst", "jobs/s", "ratio", 3.0, at_least=True),
    Limit("warm_join", "ms", "ratio", 1.5, what="LPUSH to the first request for the meeting page"),
    Limit("memory", "MB", "p50", 100.0),
    Limit("lobby", "MB", "p50", 180.0),
    Limit("calls", "MB", "p50", 200.0),
    Limit("calls", "% of a core", "p50", 10.0),
    Limit("manager", "% of a core", "mean", 6.0),
    Limit("manager", "MB", "p50", 60.0),
)
"""Where a row's own budget is the design's, it is not repeated here."""


def judged(run: Run) -> Run:
    """`run`, with these limits among the budgets of what was measured."""
    measurements = [
        msgspec.structs.replace(measurement, budgets=[*measurement.budgets, *_budgets(measurement)])
        for measurement in run.measurements
    ]
    return msgspec.structs.replace(run, measurements=measurements)


def _budgets(measurement: Measurement) -> Iterator[Budget]:
    for limit in LIMITS:
        if limit.concerns(measurement) and (measured := _measured(measurement, limit.figure)) is not None:
            unit = "x" if limit.figure == "ratio" else limit.unit.partition(" ")[0]
            yield Budget(f"design: {limit.figure}", unit, measured, limit.limit, limit.at_least)


def _measured(measurement: Measurement, figure: Figure) -> float | None:
    return measurement.ratio if figure == "ratio" else getattr(measurement.subject, figure)
