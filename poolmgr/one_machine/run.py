"""Runs manager, agent and Redis on this machine: the one place where the parts of `poolmgr up` meet. Decides nothing.

The start is numbered steps. After that every event goes to the supervisor's entry point, in order, and its answer is
carried out at once: nothing here waits.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from common.config.masking import mask_url
from common.config.settings import BadSettingsError, RedisSettings, Settings
from common.runtime import config
from common.runtime.waiting import heeded
from common.wire.messages import Heartbeat, WorkerGone
from common.wire.vocabulary import GoneCause
from poolmgr.one_machine import news, token
from poolmgr.one_machine.folder import CannotRunError, StateFolder
from poolmgr.one_machine.log_file import LogFile
from poolmgr.one_machine.news import News, PartName
from poolmgr.one_machine.process import Process
from poolmgr.one_machine.programs import TOKENS, Program, Wishes, programs, redis_url, sweeping
from poolmgr.one_machine.supervisor import (
    Answered,
    Asked,
    AskToEnd,
    Counted,
    Deed,
    End,
    Exited,
    Goal,
    Happening,
    Kill,
    Passed,
    Rules,
    Start,
    Supervisor,
    Sweep,
    Swept,
    Tell,
)
from poolmgr.one_machine.takeover import take_over
from poolmgr.one_machine.warmth import Browsers, Warmth, after
from poolmgr.one_machine.watch import Seen, Watch
from poolmgr.store.keys import Keys

_TICK_S: Final = 0.25
_STANDS_BY_S: Final = 5.0  # a manager that has lived for so long while another one leads is a standby
_PATIENCE_S: Final = 2.0  # if Redis is away for longer, that is printed
_REPEAT_AFTER_S: Final = 60.0
_SWEEP_DEADLINE_S: Final = 30.0
_MOST_REMEMBERED: Final = 1000
_FAILED: Final = frozenset(
    {GoneCause.WARMUP_FAILED, GoneCause.LOW_MEMORY, GoneCause.CRASHED, GoneCause.MEMORY_LIMIT, GoneCause.UNRESPONSIVE}
)
_SAID_ANYWAY: Final = frozenset({"sandbox_disabled"})  # printed at the beginning, whatever log.level is


class Order(NamedTuple):
    """What the operator asked for. `named`: as in programs.Wishes."""

    folder: StateFolder
    settings: Settings
    config: Path | None
    named: Mapping[str, str]
    min_idle: int | None


def run(order: Order, tell: Callable[[News], None]) -> int:
    """Run all parts until a signal stops them. Returns the exit code. Raises: CannotRunError before anything is
    started.
    """
    began = time.monotonic()
    folder = order.folder
    # 1. The folder's lock is held.
    with folder.held():
        # 2. All programs are installed, and there is a token.
        tokens = token.with_token(token.keep(folder), order.settings.api)
        wishes = Wishes(order.config, order.named, _redis_set_by(order), tokens, order.min_idle)
        if not wishes.redis_set_by:
            folder.check_socket()
        parts = programs(folder, wishes, os.environ)
        file = str(order.config or "")
        overridden_by = sorted(set(order.named.values()) - {file})
        tell(news.Began(str(folder.path), file, overridden_by, wishes.redis_set_by, os.geteuid() == 0))
        # 3. No part of an earlier start runs any more.
        take_over(folder, tell)
        # 4. Redis starts, then manager and agent, when the supervisor says so.
        return asyncio.run(_supervise(order, parts, wishes.redis_set_by, tell, began))


def _redis_set_by(order: Order) -> str:
    """The file or variable that names the Redis. Empty: there is none, or it names the private Redis, as in a shell
    that uses the variables printed by `up`.
    """
    is_private = order.settings.redis.url == redis_url(order.folder)
    return "" if is_private else order.named.get("redis.url", "")


async def _supervise(
    order: Order, parts: Mapping[PartName, Program], redis_set_by: str, tell: Callable[[News], None], began: float
) -> int:
    with ExitStack() as files:
        logs = {part: LogFile(order.folder.log(part)) for part in parts}
        for log in logs.values():
            files.callback(log.close)
        machine = _Machine(order, parts, logs, redis_set_by, tell, began)
        with _on_signals(machine.be_asked):
            return await machine.run()


class _Machine:
    def __init__(
        self,
        order: Order,
        parts: Mapping[PartName, Program],
        logs: Mapping[PartName, LogFile],
        redis_set_by: str,
        tell: Callable[[News], None],
        began: float,
    ) -> None:
        self._order = order
        self._programs = parts
        self._logs = logs
        self._redis_set_by = redis_set_by
        self._tell = tell
        self._began = began
        worker, pool, redis = order.settings.worker, order.settings.pool, order.settings.redis
        if not redis_set_by:
            redis = msgspec.structs.replace(redis, url=redis_url(order.folder))
        self._redis = redis
        self._vm_id = worker.vm_id or socket.gethostname()
        self._watch = Watch(redis, self._vm_id, is_private=not redis_set_by)
        self._supervisor = Supervisor(Rules(not redis_set_by, worker.drain_timeout_s, worker.leave_timeout_s))
        self._warmth = Warmth(pool)
        self._processes: dict[PartName, Process] = {}
        self._browsers: Browsers | None = None
        self._leader: str | None = None  # by Redis; None: not read yet
        self._leader_before: str | None = None  # the same at the start of this manager
        self._is_open = False
        self._sweeping: subprocess.Popen[bytes] | None = None
        self._sweep_by = 0.0
        self._said_at: dict[tuple[str, ...], float] = {}
        self._happenings: deque[Happening] = deque()
        self._is_handling = False
        self._exit_code = 0
        self._done = asyncio.Event()
        self._fault: BaseException | None = None

    async def run(self) -> int:
        asyncio.get_running_loop().set_exception_handler(self._note_fault)
        async with asyncio.TaskGroup() as group:
            self._carry_out(self._supervisor.begin(time.monotonic()))
            tasks = [
                group.create_task(self._watch.follow(self._see, self._hear_nothing, self._is_impatient), name="watch"),
                group.create_task(self._tick(), name="tick"),
            ]
            await self._done.wait()
            for task in tasks:
                task.cancel()
        if self._fault:
            raise self._fault
        self._tell(news.Stopped(self._exit_code))
        return self._exit_code

    def be_asked(self, number: signal.Signals) -> None:
        self._handle(Asked(hung_up=number is signal.SIGHUP))

    def _note_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A bug in a callback ends the program, like one in a task. The kernel then signals the parts."""
        if "handle" not in context:
            loop.default_exception_handler(context)
            return
        self._fault = context.get("exception") or RuntimeError(context["message"])
        self._done.set()

    # The entry point

    def _handle(self, happening: Happening) -> None:
        """Handle events in order: an event that comes while another is carried out waits."""
        self._happenings.append(happening)
        if self._is_handling:
            return
        self._is_handling = True
        try:
            while self._happenings:
                self._carry_out(self._supervisor.handle(self._happenings.popleft(), time.monotonic()))
        finally:
            self._is_handling = False

    def _carry_out(self, deeds: list[Deed]) -> None:
        for deed in deeds:
            match deed:
                case Start(part):
                    self._start(part)
                case AskToEnd(part):
                    self._processes[part].ask_to_end()
                case Kill(part):
                    self._processes[part].kill(with_children=part is not PartName.AGENT)
                case Sweep():
                    self._sweep()
                case Tell(what):
                    self._tell(what)
                case End(code):
                    self._exit_code = code
                    self._done.set()

    def _start(self, part: PartName) -> None:
        log = self._logs[part]
        log.read()
        log.begin_anew()
        if part is PartName.AGENT:
            self._browsers = None
            self._watch.skip_events()
        program = self._programs[part]
        if part is PartName.MANAGER:
            self._leader_before = self._leader
            try:
                program = with_tokens_of_now(program, self._order)
            except CannotRunError as error:
                self._tell(news.Warned(part, "error", "tokens_as_before", {"error": str(error)}))
        # The kernel sends the signal at the death of each thread, and a second SIGTERM would end the agent's calls.
        when_we_die = signal.SIGHUP if part is PartName.AGENT else signal.SIGTERM
        try:
            self._processes[part] = Process(
                program,
                self._order.folder.run_file(part),
                log,
                lambda code: self._note_exit(part, code),
                when_we_die=when_we_die,
            )
        except OSError as error:
            self._handle(Exited(part, 127, (f"cannot start it: {error.strerror}",)))

    def _note_exit(self, part: PartName, code: int) -> None:
        self._listen(part)
        self._handle(Exited(part, code, self._logs[part].last_words()))

    def _sweep(self) -> None:
        program = sweeping(self._programs[PartName.AGENT])
        log = self._logs[PartName.AGENT].fileno()
        self._sweep_by = time.monotonic() + _SWEEP_DEADLINE_S
        try:
            self._sweeping = subprocess.Popen(
                program.command,
                env=program.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=0o077,
            )
        except OSError:
            self._handle(Swept())

    # What Redis says

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            for part in self._logs:
                self._listen(part)
            self._look_at_sweep()
            self._handle(Passed())
            self._look_at_warmth()

    def _look_at_sweep(self) -> None:
        if self._sweeping is None:
            return
        if self._sweeping.poll() is None and time.monotonic() > self._sweep_by:
            self._sweeping.kill()
            self._sweeping.wait()
        if self._sweeping.poll() is not None:
            self._sweeping = None
            self._handle(Swept())

    def _listen(self, part: PartName) -> None:
        for remark in self._logs[part].read():
            if remark.event not in _SAID_ANYWAY and self._is_new(part, remark.event):
                self._tell(news.Warned(part, remark.level, remark.event, remark.facts))

    def _see(self, seen: Seen) -> None:
        self._leader = seen.leader
        self._note_up(PartName.REDIS)
        self._look_at_leader()
        for event in seen.events:
            self._browsers = after(self._browsers, event)
            if isinstance(event, Heartbeat):
                self._note_up(PartName.AGENT)
            if isinstance(event, WorkerGone) and event.cause in _FAILED and self._is_new(event.cause, event.detail):
                self._tell(news.BrowserFailed(event.cause, event.detail))
        if self._browsers is not None:
            self._handle(Counted(self._browsers.bots))
        for bot in seen.bots:
            self._tell(bot)
        self._look_at_warmth()

    def _look_at_leader(self) -> None:
        manager = self._processes.get(PartName.MANAGER)
        if self._leader_before is None:
            self._leader_before = self._leader
        if not self._leader or manager is None:
            return
        # If other managers exist, this one may be a standby, which writes nothing to Redis.
        stands_by = bool(self._redis_set_by) and time.monotonic() - manager.started_at > _STANDS_BY_S
        if stands_by or self._leader != self._leader_before:
            self._note_up(PartName.MANAGER)
        if self._supervisor.is_up(PartName.MANAGER) and not self._is_open and self._supervisor.goal is Goal.RUN:
            self._is_open = True
            self._tell(opened(self._order, self._redis, self._redis_set_by, self._vm_id, self._program()))

    def _note_up(self, part: PartName) -> None:
        if self._supervisor.runs(part) and not self._supervisor.is_up(part):
            self._handle(Answered(part))

    def _hear_nothing(self, why: str, for_s: float) -> None:
        if for_s > _PATIENCE_S and self._is_new("redis"):
            self._tell(news.Waiting(why, for_s, self._redis_set_by))

    def _is_impatient(self) -> bool:
        return not self._supervisor.is_up(PartName.MANAGER)

    def _look_at_warmth(self) -> None:
        if self._supervisor.goal is not Goal.RUN:
            return
        works = self._supervisor.is_up(PartName.MANAGER) and self._supervisor.is_up(PartName.AGENT)
        if what := self._warmth.look(self._browsers, works=works, after_s=time.monotonic() - self._began):
            self._tell(what)

    def _is_new(self, *words: str) -> bool:
        """Whether this was not printed within the last minute. Repeated lines are printed once a minute."""
        now = time.monotonic()
        if now - self._said_at.get(words, -_REPEAT_AFTER_S) < _REPEAT_AFTER_S:
            return False
        if len(self._said_at) >= _MOST_REMEMBERED:
            self._said_at.clear()
        self._said_at[words] = now
        return True

    def _program(self) -> str:
        """The name or path by which a shell finds `poolmgr`."""
        program = self._programs[PartName.MANAGER].command[0]
        return Path(program).name if shutil.which(Path(program).name) == program else program


def with_tokens_of_now(manager: Program, order: Order) -> Program:
    """The manager's program, with the tokens that the configuration has by now. Where that cannot be used any more, the
    manager says why. Raises: CannotRunError.
    """
    try:
        api = config.load(order.config).api
    except BadSettingsError:
        return manager
    tokens = token.with_token(token.keep(order.folder), api)
    return manager._replace(environment={**manager.environment, TOKENS: tokens})


def opened(order: Order, redis: RedisSettings, redis_set_by: str, vm_id: str, program: str) -> news.Opened:
    """How others reach what runs here. `redis`: the one that is used. `program`: as a shell finds `poolmgr`."""
    folder, settings = order.folder, order.settings
    pool = settings.pool
    url = mask_url(redis.url)
    for_others = {} if redis_set_by == str(order.config) else {"POOLMGR_REDIS__URL": url}
    if order.min_idle is not None:
        for_others["POOLMGR_POOL__MIN_IDLE"] = str(order.min_idle)
    return news.Opened(
        program=program,
        config=str(order.config.absolute()) if order.config else "",
        environment=for_others,
        redis_url=url,
        jobs=Keys(redis.prefix).jobs,
        socket="" if redis_set_by else str(folder.redis_socket),
        api=settings.api.listen,
        api_tls=bool(settings.api.tls_cert),
        metrics=settings.metrics.listen,
        vm_id=vm_id,
        token_file=str(folder.token_file),
        header_file=str(folder.header_file),
        room_hosts=settings.meetings.room_hosts,
        min_idle=pool.idle_target(displays=settings.capture.needs_display),
        max_workers=pool.max_workers,
    )


@contextmanager
def _on_signals(do: Callable[[signal.Signals], None]) -> Generator[None]:
    """Call `do` for each SIGINT, SIGTERM and SIGHUP, if they are heeded."""
    loop = asyncio.get_running_loop()
    numbers = heeded(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, do, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
