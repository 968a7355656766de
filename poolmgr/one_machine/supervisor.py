"""Decides which part is started, asked to end, killed or told something. Pure. The entry point is `handle`.

It takes what happened and when (monotonic seconds), and returns what to do. The method follows Pebble's
servstate/handlers.go: ask, wait, kill; a backoff, and its reset.
"""

import math
import signal
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from poolmgr.one_machine import news
from poolmgr.one_machine.news import News, PartName

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_REPLACED: Final = 3
"""The manager's exit code when another manager leads: it is started again."""
EXIT_INTERRUPTED: Final = 130

# Backoff
RESTART_FIRST_S: Final = 0.5  # short, because nobody looks at the meeting pages meanwhile
RESTART_MOST_S: Final = 30.0
STEADY_S: Final = 30.0  # after so long the next end of a part counts as the first one
MOST_FAILURES: Final = 5  # ends in a row of a part that never worked; then it is given up

# Shutdown
YOUNG_S: Final = 10.0  # an agent may take so long to come up; before that it does not know its browsers
ONE_WISH_S: Final = 0.5  # su, timeout and others send their own signal after the terminal's
ASK_AGAIN_S: Final = 0.5  # two signals sent at once arrive as one: signal(7)
AGENT_REST_S: Final = 50.0  # on top of its deadlines: 5 to abandon, 10 for events, 5 for evidence, and a reserve
MANAGER_ENDS_S: Final = 20.0  # as TimeoutStopSec of its unit
REDIS_ENDS_S: Final = 30.0  # for its last writes to a slow disk
HARD_ENDS_S: Final = 3.0  # manager and Redis, after a further signal

_EXPONENT_MOST: Final = 16


class Rules(NamedTuple):
    """The settings that the supervisor uses."""

    owns_redis: bool
    drain_timeout_s: float
    leave_timeout_s: float


class Answered(NamedTuple):
    """The part works: Redis answers, the manager leads (or stands by), the agent sends heartbeats."""

    part: PartName


class Exited(NamedTuple):
    """The part's process ended. `code`: negative for a signal. `words`: its last output."""

    part: PartName
    code: int
    words: tuple[str, ...] = ()


class Counted(NamedTuple):
    """How many bots the agent has."""

    bots: int


class Asked(NamedTuple):
    """A signal asked to end. `hung_up`: the terminal was closed; the shell may send a signal for that, too."""

    hung_up: bool = False


class Swept(NamedTuple):
    """The browsers that a killed agent left are ended."""


class Passed(NamedTuple):
    """Time has passed."""


Happening = Answered | Exited | Counted | Asked | Swept | Passed


class Start(NamedTuple):
    part: PartName


class AskToEnd(NamedTuple):
    part: PartName


class Kill(NamedTuple):
    part: PartName


class Sweep(NamedTuple):
    """End the browsers that a killed agent left."""


class Tell(NamedTuple):
    news: News


class End(NamedTuple):
    """All parts have ended. `code`: the exit code of `up`."""

    code: int


Deed = Start | AskToEnd | Kill | Sweep | Tell | End


class Again(NamedTuple):
    delay_s: float


class GiveUp(NamedTuple):
    pass


def after_exit(code: int, *, was_up: bool, failures: int) -> Again | GiveUp:
    """What follows when a part ends by itself. `was_up`: it has worked since `up` began. `failures`: ends in a row,
    with this one.

    A part that never worked has printed what is wrong, and another start would not help. A part that has worked is
    started again: meetings depend on it, and the fault may be corrected meanwhile.
    """
    if not was_up and code > 0 and code != EXIT_REPLACED:
        return GiveUp()
    if not was_up and failures >= MOST_FAILURES:
        return GiveUp()
    return Again(min(RESTART_FIRST_S * 2 ** min(failures - 1, _EXPONENT_MOST), RESTART_MOST_S))


class Goal(IntEnum):
    """What the supervisor works towards. It moves only down this list."""

    RUN = 0
    DRAIN = 1  # calls may end by themselves
    LEAVE = 2  # the bots leave their calls
    SWEEP = 3  # the agent was killed: its browsers are ended
    END_MANAGER = 4
    END_REDIS = 5
    ENDED = 6


@dataclass
class _Part:
    runs: bool = False
    is_up: bool = False  # the running process has shown that it works
    was_up: bool = False  # some process of this part has worked
    over: bool = False  # the part is not started again
    since: float = 0.0  # since when it works, or was started
    start_at: float | None = None
    down_since: float | None = None
    failures: int = 0
    asked: int = 0
    asked_at: float = 0.0
    kill_at: float | None = None
    killed: bool = False


@dataclass
class Supervisor:
    rules: Rules
    goal: Goal = Goal.RUN
    bots: int | None = None
    _parts: dict[PartName, _Part] = field(default_factory=lambda: {name: _Part() for name in PartName})
    _exit_code: int = 0
    _needs_sweep: bool = False
    _in_a_hurry: bool = False
    _ask_by: float = 0.0
    _wished_at: float = -math.inf
    _deeds: list[Deed] = field(default_factory=list[Deed])

    def begin(self, now: float) -> list[Deed]:
        if self.rules.owns_redis:
            self._start(PartName.REDIS, now)
        else:
            self._parts[PartName.REDIS].over = True
            self._start_programs(now)
        return self._taken()

    def handle(self, happening: Happening, now: float) -> list[Deed]:
        match happening:
            case Answered(part):
                self._note_up(part, now)
            case Exited(part, code, words):
                self._note_exit(part, code, words, now)
            case Counted(bots):
                self._count(bots)
            case Asked(hung_up):
                if not (hung_up and self.goal > Goal.RUN) and now >= self._wished_at + ONE_WISH_S:
                    self._wished_at = now
                    self._be_asked(now)
            case Swept():
                self._needs_sweep = False
            case _:  # time has passed
                pass
        self._do_what_is_due(now)
        self._go_on(now)
        return self._taken()

    def is_up(self, part: PartName) -> bool:
        return self._parts[part].is_up

    def runs(self, part: PartName) -> bool:
        return self._parts[part].runs

    # What happened

    def _note_up(self, name: PartName, now: float) -> None:
        part = self._parts[name]
        if not part.runs or part.is_up:
            return
        part.is_up = part.was_up = True
        part.since = now
        if part.down_since is not None:
            self._tell(news.Back(name, now - part.down_since))
            part.down_since = None
        if name is PartName.REDIS and self.goal is Goal.RUN:
            self._start_programs(now)

    def _note_exit(self, name: PartName, code: int, words: tuple[str, ...], now: float) -> None:
        part = self._parts[name]
        if part.is_up and now - part.since >= STEADY_S:
            part.failures = 0
        was_up, part.runs, part.is_up = part.is_up, False, False
        if part.down_since is None:
            part.down_since = now
        if name is PartName.AGENT and self.goal > Goal.RUN:
            was_too_young = code == -signal.SIGTERM and not was_up  # it had started no browser yet
            part.over = part.killed or (part.asked > 0 and (code == 0 or was_too_young))
            self._needs_sweep = self._needs_sweep or (was_too_young and self.goal >= Goal.LEAVE)
        elif part.asked or part.killed:
            part.over = True
        if part.over:
            part.kill_at = None
            return
        part.failures += 1
        then = after_exit(code, was_up=part.was_up, failures=part.failures)
        if isinstance(then, Again) and not (self.goal > Goal.RUN and part.failures >= MOST_FAILURES):
            part.start_at = now + then.delay_s
            self._tell(news.Died(name, code, words, then.delay_s))
            return
        part.over = True
        if name is PartName.AGENT:
            self._needs_sweep = part.was_up
        self._tell(news.CannotStart(name, code, words))
        self._exit_code = self._exit_code or (EXIT_USAGE if code == EXIT_USAGE else EXIT_FAILED)
        self._drain(now)

    def _count(self, bots: int) -> None:
        if bots != self.bots and self.goal in (Goal.DRAIN, Goal.LEAVE):
            self._tell(news.BotsLeft(bots))
        self.bots = bots

    def _be_asked(self, now: float) -> None:
        agent = self._parts[PartName.AGENT]
        if self.goal is Goal.RUN:
            self._drain(now)
        elif self.goal is Goal.DRAIN:
            self.goal = Goal.LEAVE
            at_most_s = self.rules.leave_timeout_s + AGENT_REST_S
            agent.kill_at = now + at_most_s
            self._ask_by = now
            self._tell(news.Leaving(self.bots, at_most_s))
        elif not self._in_a_hurry:
            self._in_a_hurry = True
            self._exit_code = self._exit_code or EXIT_INTERRUPTED
            self._tell(news.Ending())
            if not agent.over:
                agent.kill_at = now
            for name in (PartName.MANAGER, PartName.REDIS):
                if self._parts[name].asked:
                    self._parts[name].kill_at = now + HARD_ENDS_S

    # What follows

    def _drain(self, now: float) -> None:
        if self.goal is not Goal.RUN:
            return
        self.goal = Goal.DRAIN
        agent = self._parts[PartName.AGENT]
        if not agent.runs and not agent.was_up:
            agent.over = True
        if agent.over:
            return
        if not agent.runs:
            agent.start_at = now  # its browsers run, and only an agent ends them in good order
        at_most_s = self.rules.drain_timeout_s
        agent.kill_at = now + at_most_s + self.rules.leave_timeout_s + AGENT_REST_S
        self._tell(news.Draining(self.bots, at_most_s))

    def _do_what_is_due(self, now: float) -> None:
        for name, part in self._parts.items():
            if part.kill_at is not None and now >= part.kill_at:
                self._kill(name, part)
            if part.start_at is not None and now >= part.start_at and not part.over:
                self._start(name, now)
        agent = self._parts[PartName.AGENT]
        wanted = min(self.goal, 2)
        knows_what_it_has = agent.is_up or now >= self._ask_by
        if agent.runs and agent.asked < wanted and knows_what_it_has and now >= agent.asked_at + ASK_AGAIN_S:
            self._ask(PartName.AGENT, now)

    def _kill(self, name: PartName, part: _Part) -> None:
        part.kill_at = None
        if name is PartName.AGENT:
            self._needs_sweep = self._needs_sweep or part.runs or part.was_up
        if not part.runs:  # waiting for its next start
            part.over = True
            return
        if not self._in_a_hurry:
            self._exit_code = self._exit_code or EXIT_FAILED
            self._tell(news.Killed(name))
        part.killed = True
        self._deeds.append(Kill(name))

    def _go_on(self, now: float) -> None:
        """The steps of the shutdown: 1. the agent ends; 2. its remaining browsers; 3. the manager; 4. Redis."""
        if self.goal in (Goal.DRAIN, Goal.LEAVE) and self._is_gone(PartName.AGENT):
            self.goal = Goal.SWEEP
            if self._needs_sweep:
                self._deeds.append(Sweep())
        if self.goal is Goal.SWEEP and not self._needs_sweep:
            self.goal = Goal.END_MANAGER
            self._end(PartName.MANAGER, MANAGER_ENDS_S, now)
        if self.goal is Goal.END_MANAGER and self._is_gone(PartName.MANAGER):
            self.goal = Goal.END_REDIS
            self._end(PartName.REDIS, REDIS_ENDS_S, now)
        if self.goal is Goal.END_REDIS and self._is_gone(PartName.REDIS):
            self.goal = Goal.ENDED
            self._deeds.append(End(self._exit_code))

    def _is_gone(self, name: PartName) -> bool:
        return self._parts[name].over and not self._parts[name].runs

    def _end(self, name: PartName, within_s: float, now: float) -> None:
        part = self._parts[name]
        part.over = True
        if part.runs:
            part.kill_at = now + (HARD_ENDS_S if self._in_a_hurry else within_s)
            self._ask(name, now)

    def _ask(self, name: PartName, now: float) -> None:
        part = self._parts[name]
        part.asked += 1
        part.asked_at = now
        self._deeds.append(AskToEnd(name))

    def _start_programs(self, now: float) -> None:
        for name in (PartName.MANAGER, PartName.AGENT):
            part = self._parts[name]
            if not (part.runs or part.over or part.was_up or part.start_at is not None):
                self._start(name, now)

    def _start(self, name: PartName, now: float) -> None:
        part = self._parts[name]
        part.runs = True
        part.is_up = False
        part.since = now
        part.start_at = None
        part.asked = 0
        if name is PartName.AGENT:
            self._ask_by = now + YOUNG_S
        self._deeds.append(Start(name))

    def _tell(self, what: News) -> None:
        self._deeds.append(Tell(what))

    def _taken(self) -> list[Deed]:
        deeds, self._deeds = self._deeds, []
        return deeds
