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
    """A heap of (when, timer, owner). There is one for the steady clock and one for the calendar."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer, Owner]] = []
        self._set = 0

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, at: float, timer: Timer, whose: Owner) -> None:
        self._set += 1
        heapq.heappush(self._heap, (at, self._set, timer, whose))

    def due(self, now: float) -> Iterator[tuple[Timer, Owner]]:
        """The timers due by `now`, earliest first, including those that are set for the past meanwhile."""
        while self._heap and self._heap[0][0] <= now:
            _, _, timer, whose = heapq.heappop(self._heap)
            yield timer, whose

    @property
    def next_at(self) -> float:
        return self._heap[0][0] if self._heap else float("inf")
