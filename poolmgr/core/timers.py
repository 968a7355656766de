"""Deadlines in the future. A timer is never cancelled: when it fires, its handler checks whether it still counts.

`Timer` lists all deadlines of the manager.
"""

import heapq
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple, TypeAlias


class Timer(StrEnum):
    """The deadlines, and the setting of [pool] that says when each comes."""

    VM_SILENT = "vm_silent"  # heartbeat_timeout_s after the last heartbeat: no new work
    VM_LOST = "vm_lost"  # lost_after_s after the last heartbeat: its bots are lost
    VM_FORGOTTEN = "vm_forgotten"  # [retention] vm_s after it was lost
    WARMUP = "warmup"  # warmup_timeout_s after the order
    BACKOFF = "backoff"  # after failed warm-ups or assignments not begun: backoff_s doubling to backoff_max_s
    IDLE_TTL = "idle_ttl"  # idle_ttl_s after a worker became idle, if it is surplus
    MAX_AGE = "max_age"  # max_age_s after a worker was first warm
    RETIRE = "retire"  # warmup_timeout_s after the order to retire: ask again
    CLAIM = "claim"  # claim_timeout_s after the assignment
    LEAVE = "leave"  # claim_timeout_s after a bot was asked to leave: ask again; leave_within_s after: see attempts.py
    OVERDUE = "overdue"  # overdue_after_s after the assignment: ask to leave
    QUEUE = "queue"  # queue_timeout_s after the bot was queued
    RESERVE = "reserve"  # reserve_ahead_s before join_at (calendar)
    DUE = "due"  # join_at (calendar)
    MISSED = "missed"  # join_late_limit_s after join_at (calendar)


class AttemptOf(NamedTuple):
    """The timer counts while the bot is in this attempt."""

    bot_id: str
    attempt: int


class PlanOf(NamedTuple):
    """The timer counts while the bot's join_at is this time (epoch seconds)."""

    bot_id: str
    join_at: float


class WorkerOf(NamedTuple):
    vm_id: str
    worker_id: str


Owner: TypeAlias = str | AttemptOf | PlanOf | WorkerOf
"""Whose timer it is. A str: the id of a VM, or of a bot in any attempt."""


class Timers:
    """A queue of (when, timer, owner). There is one for the steady clock and one for the calendar.

    A fleet of 10,000 VMs has some 100,000 deadlines, most of them hours ahead. A heap of all of them would be slow, so
    only the next ones are in a heap. The later ones are kept by their second, unordered, and go into the heap when
    their second is next.
    """

    def __init__(self) -> None:
        self._next: list[tuple[float, int, Timer, Owner]] = []  # a heap of all before `_later_from`
        self._later: dict[int, list[tuple[float, int, Timer, Owner]]] = {}  # by second; none before `_later_from`
        self._seconds: list[int] = []  # a heap of those in `_later`
        self._later_from = float("-inf")
        self._set = 0
        self.next_at = float("inf")
        """When the next timer is due; infinity without one. To be read only."""

    def __len__(self) -> int:
        return len(self._next) + sum(map(len, self._later.values()))

    def set(self, at: float, timer: Timer, whose: Owner) -> None:
        self._set += 1
        entry = (at, self._set, timer, whose)
        if at < self.next_at:
            self.next_at = at
        if at < self._later_from:
            heapq.heappush(self._next, entry)
            return
        second = int(at // 1)
        if (same := self._later.get(second)) is not None:
            same.append(entry)
            return
        self._later[second] = [entry]
        heapq.heappush(self._seconds, second)
        if not self._next:
            self._approach()

    def _approach(self) -> None:
        """The next second comes into the heap."""
        if self._seconds:
            second = heapq.heappop(self._seconds)
            self._next = self._later.pop(second)
            heapq.heapify(self._next)
            self._later_from = second + 1

    def due(self, now: float) -> Iterator[tuple[Timer, Owner]]:
        """The timers due by `now`, earliest first, including those that are set for the past meanwhile."""
        while self.next_at <= now:
            _, _, timer, whose = heapq.heappop(self._next)
            if not self._next:
                self._approach()
            self.next_at = self._next[0][0] if self._next else float("inf")
            yield timer, whose
