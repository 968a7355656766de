"""Chooses which bot's webhook is sent next, and what follows from an answer. Pure: time and chance are handed in.

Each bot's queue of webhooks is in Redis. The courier knows only which bots have a queue, which hosts may be called, and
when. A bot's next webhook waits until the one before is delivered or given up, so they arrive in order.

A host is *bad* if its last answer was bad, and *unknown* if it has not answered yet. Such a host gets one call at a
time. Bad and unknown hosts together take at most half of the calls under way, bad ones at most a quarter; unknown ones
come first. So a host that answers never waits for one that does not, and a new host never waits for a bad one.
"""

import heapq
from collections import deque
from typing import Final, Literal

import msgspec

from common.config.settings import WebhookSettings
from common.webhooks.outcome import Outcome

GONE: Final = 410
MOST_REMEMBERED: Final = 10_000
_JITTER: Final = (0.75, 1.25)

BuriedFor = Literal["gone", "address_not_allowed", "too_old"]


class Retry(msgspec.Struct, frozen=True):
    """Send it again, not before `at` (epoch seconds)."""

    at: float


class Bury(msgspec.Struct, frozen=True):
    """Give it up: it becomes a dead letter."""

    reason: BuriedFor


class Delivered(msgspec.Struct, frozen=True):
    pass


Verdict = Delivered | Retry | Bury


def judge(
    outcome: Outcome, attempts: int, since: float, now: float, settings: WebhookSettings, chance: float
) -> Verdict:
    """What follows from the last of `attempts` to send a webhook. `since`: when its time began. `chance`:
    random, 0 to 1.
    """
    if outcome.delivered:
        return Delivered()
    if outcome.fault == "address_not_allowed":
        return Bury("address_not_allowed")
    if outcome.status == GONE:
        return Bury("gone")
    end = since + settings.retry_for_s
    if now >= end:
        return Bury("too_old")
    least, most = _JITTER
    delay_s = min(settings.retry_first_s * 2 ** min(attempts - 1, 40), settings.retry_most_s)
    delay_s = max(delay_s * (least + (most - least) * chance), min(outcome.retry_after_s, settings.retry_most_s))
    return Retry(min(now + delay_s, end))


class _Host:
    """A receiver. `ready`: bots with a webhook that is due, in order. `answers`: whether its last call was answered
    well; None: it was never called.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[str] = deque()
        self.bots = 0
        self.busy = 0
        self.answers: bool | None = None
        self.queued = False


class Courier:
    """At most one delivery per bot, `at_once_per_host` per host and `at_once` in all are under way."""

    def __init__(self, at_once: int, at_once_per_host: int) -> None:
        self._at_once = at_once
        self._at_once_per_host = at_once_per_host
        self._at_once_doubtful = max(1, at_once // 2)
        self._at_once_bad = max(1, at_once // 4)
        self._hosts: dict[str, _Host] = {}  # hosts that some bot has a webhook for
        self._remembered: dict[str, _Host] = {}  # idle hosts whose last call was answered, longest ago first
        self._host_of: dict[str, _Host] = {}
        self._under_way: dict[str, bool | None] = {}  # by bot: how its host had answered before
        self._asked_again: set[str] = set()
        self._later: list[tuple[float, int, str]] = []
        self._sequence = 0
        self._busy: dict[bool | None, int] = {True: 0, None: 0, False: 0}
        # Hosts with a webhook that is due, by how they answered. Each gets one call a turn.
        self._turns: dict[bool | None, deque[_Host]] = {True: deque(), None: deque(), False: deque()}

    def __len__(self) -> int:
        """How many bots have a webhook that waits or is being sent."""
        return len(self._host_of)

    @property
    def busy(self) -> int:
        return len(self._under_way)

    def put(self, bot_id: str, host: str, due_at: float) -> None:
        """The bot has a webhook to send. Changes nothing if the bot has a queue already."""
        if bot_id in self._under_way:
            # The current attempt may find the queue empty, although this webhook was put into it.
            self._asked_again.add(bot_id)
        elif bot_id not in self._host_of:
            self._begin(bot_id, host, due_at)

    def next(self, now: float) -> list[str]:
        """The bots whose first webhook is to be sent now. The caller has to call `over` for each of them."""
        while self._later and self._later[0][0] <= now:
            bot_id = heapq.heappop(self._later)[2]
            host = self._host_of[bot_id]
            host.ready.append(bot_id)
            self._queue(host)
        chosen: list[str] = []
        while host := self._turn():
            chosen.append(self._send_off(host))
            self._queue(host)
        return chosen

    def over(self, bot_id: str, *, answers: bool | None, due_at: float | None) -> None:
        """An attempt is over. `answers`: whether the receiver took it; None: it was not called. `due_at`: when the
        bot's next webhook is due; None: its queue is empty.
        """
        host = self._host_of.pop(bot_id)
        self._busy[self._under_way.pop(bot_id)] -= 1
        host.busy -= 1
        host.bots -= 1
        if answers is not None:
            host.answers = answers
        again = bot_id in self._asked_again
        self._asked_again.discard(bot_id)
        if due_at is not None or again:
            self._begin(bot_id, host.name, due_at or 0.0)
        elif not host.bots:
            self._put_aside(host)
        self._queue(host)

    def wake_at(self) -> float | None:
        """When `next` will return another bot if nothing else happens; None: never."""
        return self._later[0][0] if self._later else None

    def _begin(self, bot_id: str, name: str, due_at: float) -> None:
        host = self._hosts.get(name) or self._remembered.pop(name, None) or _Host(name)
        self._hosts[name] = host
        host.bots += 1
        self._host_of[bot_id] = host
        self._sequence += 1
        heapq.heappush(self._later, (due_at, self._sequence, bot_id))

    def _put_aside(self, host: _Host) -> None:
        del self._hosts[host.name]
        if host.answers:
            self._remembered[host.name] = host
            if len(self._remembered) > MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]

    def _queue(self, host: _Host) -> None:
        if self._may_be_called(host) and not host.queued:
            host.queued = True
            self._turns[host.answers].append(host)

    def _turn(self) -> _Host | None:
        """The host to call next: one that answers, if there is one."""
        for answers in (True, None, False, True):  # True twice: other hosts may have answered meanwhile
            turns = self._turns[answers]
            while turns and self._has_room(answers):
                host = turns.popleft()
                host.queued = False
                if host.answers is answers and self._may_be_called(host):
                    return host
                self._queue(host)
        return None

    def _may_be_called(self, host: _Host) -> bool:
        return bool(host.ready) and host.busy < (self._at_once_per_host if host.answers else 1)

    def _has_room(self, answers: bool | None) -> bool:
        if answers is False and self._busy[False] >= self._at_once_bad:
            return False
        if not answers and self._busy[None] + self._busy[False] >= self._at_once_doubtful:
            return False
        return len(self._under_way) < self._at_once

    def _send_off(self, host: _Host) -> str:
        bot_id = host.ready.popleft()
        host.busy += 1
        self._under_way[bot_id] = host.answers
        self._busy[host.answers] += 1
        return bot_id
