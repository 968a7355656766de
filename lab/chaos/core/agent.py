"""Agents without a process, a browser or a clock of their own. They obey, claim and report with the real scripts. The
environment hands in the time.

An agent that is ended loses what it had in memory. Its disk and its browsers stay.
"""

from dataclasses import dataclass, field
from typing import Final

from common.jobs.record import iso
from common.runtime.redis.client import UNAVAILABLE
from common.wire import codec, messages
from common.wire.messages import (
    BotEnded,
    BotMoved,
    BotVitals,
    Command,
    Event,
    Heartbeat,
    Join,
    JoinRefused,
    Leave,
    WorkerGone,
    WorkerReport,
    WorkerWarm,
)
from common.wire.vocabulary import BotState, GoneCause, Reason, RefusalCause, WorkerState
from lab.chaos.core.connection import Fuse, KilledError, fragile
from lab.chaos.core.environment import Ground, ReportedEnd
from lab.chaos.observers.witness import Seen
from poolmgr.store.answers import entries_of
from worker.link import scripts
from worker.link.redis import HEARTBEATS_UNREAD

UNATTENDED_S: Final = 120.0  # after this long without an agent a page leaves by itself
DRAIN_S: Final = 40.0
MEMORY: Final = 6  # workers that fit on one VM


@dataclass
class Browser:
    """A worker, as its VM has it. `begun`: the page went to the meeting, and the journal knows it. `out`: the page left
    by itself, because no agent attended to it. `deaf`: the page ignores requests to leave. `alive` False: its process
    has died.
    """

    state: WorkerState = WorkerState.WARMING
    join: Join | None = None
    reached: BotState = BotState.ASSIGNED
    begun: bool = False
    out: bool = False
    deaf: bool = False
    alive: bool = True
    leaves: Reason | None = None
    ends_when_free: GoneCause | None = None
    was_inside: bool = False
    unchecked: bool = False  # it was adopted, and its attempt may have been taken away meanwhile

    def report(self) -> WorkerReport:
        return WorkerReport(self.state, self.join.bot_id, self.join.attempt) if self.join else WorkerReport(self.state)


@dataclass
class Disk:
    """What stays when an agent ends."""

    session: int = 1
    number: int = 0
    unwritten: dict[int, Event] = field(default_factory=dict[int, Event])
    browsers: dict[str, Browser] = field(default_factory=dict[str, Browser])


class Agent:
    """The agent of one VM. `cut_off`: it cannot reach Redis. `claims_from`: it claims nothing before that time.
    `refuses`: it refuses assignments, with that reason. `fails`: its warm-ups fail, with that cause.
    """

    def __init__(self, ground: Ground, vm_id: str) -> None:
        self.vm_id = vm_id
        self.fuse = Fuse()
        self.disk = Disk()
        self.cut_off = self.frozen = self.stopping = False
        self.down_until = 0.0
        self.claims_from = 0.0
        self.refuses: RefusalCause | None = None
        self.fails: GoneCause | None = None
        self.heard_at = ground.now
        self._ground = ground
        self._redis = fragile(ground.url, self.fuse)
        self._stops_at = 0.0
        self._is_new = True
        self._is_up = True
        self._beat: Heartbeat | None = None
        self._done: list[bytes] = []

    async def close(self) -> None:
        await self._redis.aclose()

    # Ends and starts

    @property
    def session(self) -> str:
        return f"{self.vm_id}s{self.disk.session}"

    @property
    def runs(self) -> bool:
        return self._is_up and not self.frozen

    def kill(self, away_s: float) -> None:
        self._is_up = self.stopping = False
        self.frozen = False
        self.down_until = self._ground.now + away_s
        self.fuse.left = None

    def lose_browsers(self) -> None:
        for browser in self.disk.browsers.values():
            self.die(browser)

    def die(self, browser: Browser) -> None:
        if browser.alive and browser.join and browser.was_inside and not browser.out:
            self._ground.saw(Seen.GONE, browser.join)
        browser.alive = False

    def lose_folder(self) -> None:
        """Empty the state folder. The next agent has another session, and first ends the browsers that are left."""
        self.kill(1.0)
        self.lose_browsers()
        for event in self.disk.unwritten.values():
            if isinstance(event, BotMoved) and event.state is BotState.IN_MEETING:
                self._ground.forgot(event)
        self.disk = Disk(session=self.disk.session + 1)
        self._is_new = True

    def stop(self) -> None:
        if self._is_up and not self.stopping:
            self.stopping, self._stops_at = True, self._ground.now + DRAIN_S

    def _start(self) -> None:
        """Start: find the workers of the journal, and go on with those that live."""
        self._is_up = True
        self._beat, self._done = None, []
        for worker_id, browser in list(self.disk.browsers.items()):
            browser.unchecked = browser.begun
            if browser.alive and browser.state is not WorkerState.WARMING:
                continue
            if browser.join and browser.begun:
                self._end_bot(worker_id, browser, browser.leaves or Reason.BROWSER_CRASHED)
            elif browser.join:
                self._refuse(browser.join, RefusalCause.BROWSER_DEAD)
            self._gone(worker_id, GoneCause.MISSING)

    # What it reports

    def _say(self, event: Event) -> None:
        self.disk.number += 1
        self.disk.unwritten[self.disk.number] = event

    def _gone(self, worker_id: str, cause: GoneCause) -> None:
        browser = self.disk.browsers.pop(worker_id, None)
        if browser and browser.join and browser.was_inside and browser.alive and not browser.out:
            self._ground.saw(Seen.GONE, browser.join)
        self._say(WorkerGone(self.vm_id, worker_id, self._ground.wall, cause))

    def _refuse(self, join: Join, cause: RefusalCause) -> None:
        self._say(JoinRefused(self.vm_id, join.worker_id, join.bot_id, join.attempt, self._ground.wall, cause))

    def _end_bot(self, worker_id: str, browser: Browser, reason: Reason) -> None:
        """Report its bot's end, once. The browser ends in the next turn."""
        join = browser.join
        if join is None:
            return
        if browser.was_inside and browser.alive and not browser.out:
            self._ground.saw(Seen.LEFT, join)
        browser.join = None
        self._say(BotEnded(self.vm_id, worker_id, join.bot_id, join.attempt, self._ground.wall, reason))

    # A turn

    async def turn(self) -> None:
        self._guard_pages()
        if not self._is_up and self._ground.now >= self.down_until:
            self._start()
        if not self.runs:
            return
        try:
            if not self.cut_off and self._is_new:
                await self._answer_backlog()
            if not self.cut_off and not self._is_new:
                await self._obey_all()
                await self._claim_all()
            self._live()
            self._beat = self._heartbeat()
            if not self.cut_off and not self._is_new:
                await self._write_all()
            if self.stopping and not self.disk.browsers and not self.disk.unwritten:
                self.kill(self._ground.chance.uniform(1.0, 20.0))
        except UNAVAILABLE:
            await self._redis.connection_pool.disconnect()
        except KilledError:
            await self._redis.connection_pool.disconnect()
            self.kill(self._ground.chance.uniform(0.5, 10.0))

    def _guard_pages(self) -> None:
        """Do what pages do when no agent attends to them: see worker/platforms/scripts/guard.js."""
        unreachable_s = self._ground.now - self.heard_at
        for browser in self.disk.browsers.values():
            join = browser.join
            if not (join and browser.alive and not browser.out):
                continue
            limit_s = join.leave_when_cut_off_s or UNATTENDED_S
            if unreachable_s > limit_s and (join.leave_when_cut_off_s or not self.runs):
                browser.out = True
                if browser.was_inside:
                    self._ground.saw(Seen.LEFT, join)

    def _heartbeat(self) -> Heartbeat:
        reports = {worker_id: browser.report() for worker_id, browser in self.disk.browsers.items()}
        room = max(0, MEMORY - len(reports))
        return Heartbeat(self.vm_id, self.session, self._ground.wall, reports, room, self.stopping)

    async def _answer_backlog(self) -> None:
        key = self._ground.keys.commands(self.vm_id)
        for entry in entries_of(await self._redis.xread({key: b"0"})):
            order = codec.decode_command(entry.fields[codec.FIELD.encode()])
            if isinstance(order, Join):
                self._refuse(order, RefusalCause.NO_SUCH_WORKER)
            await self._redis.xdel(key, entry.entry_id)
        self._is_new = False

    async def _write_all(self) -> None:
        k, vm_id = self._ground.keys, self.vm_id
        batch = dict(self.disk.unwritten)
        entries: list[int | bytes] = [part for number, event in batch.items() for part in (number, codec.encode(event))]
        if self._beat:
            entries += (0, codec.encode(self._beat))
        call = scripts.write(
            events=k.events,
            written=k.written(vm_id),
            alive=k.alive(vm_id),
            commands=k.commands(vm_id),
            session=self.session,
            presence=self.session,
            most_unread=HEARTBEATS_UNREAD,
            entries=entries,
        )
        try:
            await call.run(self._redis)
        finally:
            await self._witness(batch)
        self.heard_at = self._ground.now
        for number in batch:
            self.disk.unwritten.pop(number, None)
        self._beat = None

    async def _witness(self, batch: dict[int, Event]) -> None:
        """Note which of its events are in the stream, whether the agent knows it or not."""
        ground = self._ground
        session, number = await ground.redis.hmget(ground.keys.written(self.vm_id), "session", "number")
        if session != self.session.encode():
            return
        for mine, event in batch.items():
            if mine <= int(number):
                ground.news.append(event)
                if isinstance(event, BotEnded):
                    reported = ReportedEnd(ground.wall, ground.now, event.reason)
                    ground.reported_ends.setdefault((event.bot_id, event.attempt), reported)

    async def _obey_all(self) -> None:
        key = self._ground.keys.commands(self.vm_id)
        if self._done:
            await self._redis.xdel(key, *self._done)
            self._done = []
        for entry in entries_of(await self._redis.xread({key: b"0"}, count=self._ground.chance.choice((2, 500)))):
            self._obey(codec.decode_command(entry.fields[codec.FIELD.encode()]))
            self._done.append(entry.entry_id)
        if self._done:
            await self._redis.xdel(key, *self._done)
            self._done = []

    def _obey(self, order: Command) -> None:
        if isinstance(order, messages.FinishRecording):
            return  # these agents record nothing
        worker_id = order.worker_id
        browser = self.disk.browsers.get(worker_id)
        match order:
            case messages.Warm():
                self._warm(worker_id, browser)
            case Join():
                self._begin(order, browser)
            case Leave(bot_id=bot_id, attempt=attempt, reason=reason):
                serves = browser and browser.join and (browser.join.bot_id, browser.join.attempt) == (bot_id, attempt)
                if browser and serves and not browser.deaf:
                    browser.leaves = browser.leaves or reason
            case messages.Retire(by_force=by_force):
                self._retire(worker_id, browser, by_force=by_force)
            case messages.Say() | messages.Pause():
                pass

    def _warm(self, worker_id: str, browser: Browser | None) -> None:
        if browser:
            return
        if self.stopping or len(self.disk.browsers) >= MEMORY:
            self._gone(worker_id, GoneCause.AGENT_STOPPED if self.stopping else GoneCause.LOW_MEMORY)
        else:
            self.disk.browsers[worker_id] = Browser()
            most = self._ground.most
            most[self.vm_id] = max(most[self.vm_id], len(self.disk.browsers))

    def _begin(self, join: Join, browser: Browser | None) -> None:
        if browser and browser.join and (browser.join.bot_id, browser.join.attempt) == (join.bot_id, join.attempt):
            return
        if self.stopping:
            self._refuse(join, RefusalCause.STOPPING)
        elif browser is None or browser.state is not WorkerState.IDLE or not browser.alive:
            self._refuse(join, RefusalCause.NO_SUCH_WORKER)
        elif self.refuses is RefusalCause.LOW_MEMORY:
            self._refuse(join, self.refuses)
        else:
            browser.state, browser.join = WorkerState.BUSY, join

    def _retire(self, worker_id: str, browser: Browser | None, *, by_force: bool) -> None:
        if browser is None:
            self._gone(worker_id, GoneCause.MISSING)
        elif browser.state is not WorkerState.BUSY:
            self._gone(worker_id, GoneCause.RETIRED)
        elif by_force:
            if browser.join and browser.begun:
                if not browser.deaf and self._ground.now > self._ground.calm_from:
                    self._ground.broken(
                        "overdue", f"bot {browser.join.bot_id} was told to leave by no word, only by force"
                    )
                self._end_bot(worker_id, browser, Reason.OVERDUE)
            elif browser.join:
                self._refuse(browser.join, RefusalCause.BROWSER_DEAD)
            self._gone(worker_id, GoneCause.SPENT)
        else:
            browser.ends_when_free = GoneCause.RETIRED

    async def _claim_all(self) -> None:
        ground = self._ground
        for worker_id, browser in list(self.disk.browsers.items()):
            join = browser.join
            if join is None or (browser.begun and not browser.unchecked) or ground.now < self.claims_from:
                continue
            bot, at = ground.keys.bot(join.bot_id), iso(ground.wall)
            call = scripts.claim(bot=bot, attempt=join.attempt, worker_id=worker_id, at=at)
            ours = await call.run(self._redis)
            if browser.begun:
                browser.unchecked, browser.leaves = False, browser.leaves if ours else Reason.SUPERSEDED
            elif self.refuses is RefusalCause.BROWSER_DEAD or not browser.alive:
                self._refuse(join, RefusalCause.BROWSER_DEAD)
                self._gone(worker_id, GoneCause.UNRESPONSIVE)
            elif ours:
                browser.begun = True
            else:
                browser.state, browser.join, browser.leaves = WorkerState.IDLE, None, None
                if browser.ends_when_free or self.stopping:
                    self._gone(worker_id, browser.ends_when_free or GoneCause.AGENT_STOPPED)

    # What happens by itself

    def _live(self) -> None:
        for worker_id, browser in list(self.disk.browsers.items()):
            if browser.state is WorkerState.WARMING:
                self._warm_up(worker_id, browser)
            elif not browser.alive:
                self._miss(worker_id, browser)
            elif browser.state is WorkerState.BUSY and browser.join is None:
                self._gone(worker_id, GoneCause.SPENT)
            elif browser.join and browser.begun:
                self._be_in_meeting(worker_id, browser, browser.join)
            elif self.stopping:
                if browser.join:
                    self._refuse(browser.join, RefusalCause.STOPPING)
                self._gone(worker_id, GoneCause.AGENT_STOPPED)

    def _warm_up(self, worker_id: str, browser: Browser) -> None:
        if self.fails or self.stopping:
            self._gone(worker_id, self.fails or GoneCause.AGENT_STOPPED)
        elif self._ground.heals or self._ground.chance.random() < 0.7:
            browser.state = WorkerState.IDLE
            self._say(WorkerWarm(self.vm_id, worker_id, self._ground.wall))

    def _miss(self, worker_id: str, browser: Browser) -> None:
        if browser.join and browser.begun:
            self._end_bot(worker_id, browser, Reason.BROWSER_CRASHED)
        elif browser.join:
            self._refuse(browser.join, RefusalCause.BROWSER_DEAD)
        self._gone(worker_id, GoneCause.CRASHED)

    def _be_in_meeting(self, worker_id: str, browser: Browser, join: Join) -> None:
        ground, chance = self._ground, self._ground.chance
        if browser.out or 0 < join.leave_when_cut_off_s < ground.now - self.heard_at:
            self._end_bot(worker_id, browser, Reason.CUT_OFF)
        elif browser.leaves and not browser.deaf:
            if browser.reached is not BotState.LEAVING:
                self._move(worker_id, browser, join, BotState.LEAVING)
            elif ground.heals or chance.random() < 0.6:
                self._end_bot(worker_id, browser, browser.leaves)
        elif self.stopping and ground.now >= self._stops_at:
            browser.leaves = Reason.SHUTDOWN
        elif browser.reached is BotState.LEAVING:
            return
        elif browser.reached is BotState.IN_MEETING:
            self._say(BotVitals(self.vm_id, worker_id, join.bot_id, join.attempt, ground.wall, 2))
            # While the faults heal, a bot without a valid attempt has to be ordered to leave: nothing else ends it.
            if ground.counting.get(join.bot_id) == join.attempt if ground.heals else chance.random() < 0.12:
                browser.leaves = chance.choice((Reason.MEETING_ENDED, Reason.MEETING_ENDED, Reason.REMOVED_BY_HOST))
        elif chance.random() < 0.12:
            failures = (Reason.REQUEST_DENIED, Reason.PAGE_LOAD_FAILED, Reason.CONNECTION_LOST)
            self._end_bot(worker_id, browser, chance.choice(failures))
        elif chance.random() < 0.5:
            way = [BotState.JOINING, BotState.WAITING_ROOM, BotState.IN_MEETING]
            self._move(worker_id, browser, join, next(state for state in way if state.rank > browser.reached.rank))

    def _move(self, worker_id: str, browser: Browser, join: Join, state: BotState) -> None:
        browser.reached = state
        if state is BotState.IN_MEETING:
            browser.was_inside = True
            self._ground.saw(Seen.INSIDE, join)
        self._say(BotMoved(self.vm_id, worker_id, join.bot_id, join.attempt, self._ground.wall, state))


def is_final(reason: Reason) -> bool:
    """Whether a bot that ended for this reason is never sent in again."""
    return not reason.end.retry
