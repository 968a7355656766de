"""The results of a simulation: how long bots waited, and what the warm workers cost."""

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from common.wire.vocabulary import WorkerState
from poolmgr.core.decisions import Assign, End, ForgetWorker, KeepVm, Warm
from poolmgr.core.load import wants_display


class TakenOut(msgspec.Struct, frozen=True):
    """A canary that the pool drained, so many hours after the beginning."""

    vm_id: str
    after_h: float
    why: str


class Required(msgspec.Struct, frozen=True):
    """What became of the jobs that require one label set; `labels` as `name=value,...`, empty: of those without."""

    labels: str
    served: int
    warm_hits: int
    wait_p99_s: float | None
    never_served: int


class Outcome(msgspec.Struct, frozen=True):
    """`warm_hits`: jobs that found an idle browser. Waits: of the `served` jobs, from when a job was due until it had a
    browser; None: no job was served. `idle_worker_h`: hours of idle browsers, reserved ones included. `idle_s_per_bot`:
    the same in seconds for each served bot. `busy_peak`: the most bots at one time. `load_mean`, `load_peak`: the share
    of what bots may take of all processors (`pool.cpu_limit`) that they are expected to take; None: it is not known how
    many there are. `canary_jobs`: jobs that a canary got; `taken_out`: which were taken out, and when. `required`:
    for each label set that jobs require, if any does. `pictures`: jobs with a picture among the served; `on_display`:
    those of them that got a worker with a display.
    """

    jobs: int
    served: int
    never_served: int
    still_waiting: int
    warm_hits: int
    warm_hit_rate: float | None
    never_served_share: float | None
    wait_p50_s: float | None
    wait_p90_s: float | None
    wait_p99_s: float | None
    wait_max_s: float | None
    idle_worker_h: float
    busy_worker_h: float
    warming_worker_h: float
    idle_s_per_bot: float | None
    peak_workers: int
    busy_peak: int
    warmups: int
    load_mean: float | None = None
    load_peak: float | None = None
    canary_jobs: int = 0
    taken_out: tuple[TakenOut, ...] = ()
    required: tuple[Required, ...] = ()
    pictures: int = 0
    on_display: int = 0


class Meter:
    """Sums up from `begin` on. `workers`: how many workers the pool has, by state. `load`: how many processors bots are
    expected to take now; `bearable`: how many they may, 0: unknown. `requires`: what a bot requires, as text; None: no
    job requires anything.
    """

    def __init__(
        self,
        workers: Mapping[WorkerState, int],
        begin: float,
        load: Callable[[], float] = lambda: 0.0,
        bearable: float = 0.0,
        requires: Callable[[str], str] | None = None,
    ) -> None:
        self._load, self._bearable = load, bearable
        self._load_s = self._load_peak = 0.0
        self._workers = workers
        self._begin = self._looked_at = begin
        self._idle_s = self._busy_s = self._warming_s = 0.0
        self._alive = self._peak = self._busy_peak = self._warmups = 0
        self._warm_hits = self._never_served = 0
        self._waits_s: list[float] = []
        self._canaries = set[str]()
        self._canary_jobs = self._pictures = self._on_display = 0
        self._taken_out: list[TakenOut] = []
        self._requires = requires
        self._required: dict[str, tuple[list[float], list[bool], list[str]]] = {}

    def pass_time(self, now: float) -> None:
        """Count the time since the last call for the workers' current states."""
        passed_s = now - self._looked_at
        if passed_s > 0:
            workers = self._workers
            self._idle_s += passed_s * (workers[WorkerState.IDLE] + workers[WorkerState.RESERVED])
            busy = workers[WorkerState.BUSY]
            self._busy_s += passed_s * busy
            if busy > self._busy_peak:
                self._busy_peak = busy
            self._warming_s += passed_s * workers[WorkerState.WARMING]
            if self._bearable:
                load = self._load()
                self._load_s += passed_s * load
                self._load_peak = max(self._load_peak, load)
            self._looked_at = now

    def warm(self, _: Warm, now: float) -> None:
        self._alive += 1
        if now >= self._begin:
            self._warmups += 1
        self._peak = max(self._peak, self._alive)

    def assign(self, order: Assign, _: float) -> None:
        if order.join.attempt == 1:
            self._waits_s.append(order.waited_s)
            self._warm_hits += order.warm
            self._canary_jobs += order.vm_id in self._canaries
            if of := self._of(order.join.bot_id):
                of[0].append(order.waited_s)
                of[1].append(order.warm)
            if wants_display(order.kind):
                self._pictures += 1
                self._on_display += order.display

    def keep_vm(self, kept: KeepVm, now: float) -> None:
        if kept.canary:
            self._canaries.add(kept.vm_id)
        if kept.is_taken_out:
            self._taken_out.append(TakenOut(kept.vm_id, _rounded((now - self._begin) / 3600), kept.out))

    def end(self, order: End, _: float) -> None:
        if order.attempt == 0:
            self._never_served += 1
            if of := self._of(order.bot_id):
                of[2].append(order.bot_id)

    def _of(self, bot_id: str) -> tuple[list[float], list[bool], list[str]] | None:
        """Waits, warm hits, and bots that were never served, of all that require the same."""
        return self._required.setdefault(self._requires(bot_id), ([], [], [])) if self._requires else None

    def forget_worker(self, _: ForgetWorker, __: float) -> None:
        self._alive -= 1

    def outcome(self, *, still_waiting: int) -> Outcome:
        waits_s = sorted(self._waits_s)
        served = len(waits_s)
        jobs = served + self._never_served + still_waiting
        return Outcome(
            jobs=jobs,
            served=served,
            never_served=self._never_served,
            still_waiting=still_waiting,
            warm_hits=self._warm_hits,
            warm_hit_rate=_share(self._warm_hits, jobs),
            never_served_share=_share(self._never_served, jobs),
            wait_p50_s=percentile(waits_s, 50),
            wait_p90_s=percentile(waits_s, 90),
            wait_p99_s=percentile(waits_s, 99),
            wait_max_s=percentile(waits_s, 100),
            idle_worker_h=_rounded(self._idle_s / 3600),
            busy_worker_h=_rounded(self._busy_s / 3600),
            warming_worker_h=_rounded(self._warming_s / 3600),
            idle_s_per_bot=_rounded(self._idle_s / served) if served else None,
            peak_workers=self._peak,
            busy_peak=self._busy_peak,
            warmups=self._warmups,
            load_mean=_share(self._load_s / (self._looked_at - self._begin or 1.0), self._bearable),
            load_peak=_share(self._load_peak, self._bearable),
            canary_jobs=self._canary_jobs,
            taken_out=tuple(self._taken_out),
            required=tuple(
                Required(labels, len(waits), sum(warm), percentile(sorted(waits), 99), len(never))
                for labels, (waits, warm, never) in sorted(self._required.items())
            ),
            pictures=self._pictures,
            on_display=self._on_display,
        )


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The percentile by nearest rank: the smallest value that is at least as large as `percent` of all; None without
    values.
    """
    return _rounded(ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]) if ordered else None


def pareto(outcomes: Sequence[Outcome]) -> list[bool]:
    """For each outcome: whether no other beats it. Another one beats it if it has no more idle time and no fewer warm
    hits, and is better in one of them.
    """
    return [not any(_beats(other, outcome) for other in outcomes) for outcome in outcomes]


def _beats(outcome: Outcome, other: Outcome) -> bool:
    better = (outcome.warm_hits, -outcome.idle_worker_h), (other.warm_hits, -other.idle_worker_h)
    return better[0] != better[1] and all(a >= b for a, b in zip(*better, strict=True))


def _share(part: float, whole: float) -> float | None:
    return _rounded(part / whole) if whole else None


def _rounded(value: float) -> float:
    return round(value, 6)
