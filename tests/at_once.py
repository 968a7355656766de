"""`pytest --at-once N`: the tests are collected once, and carried out by N processes that are forked then.

pytest-xdist starts N processes that collect all tests, each of them: here that takes more processor time than the tests
of most rooms. Otherwise it is as there: one process has all tests of a file, in their order, and takes the next file
when it is through; one that dies fails the test that it was about, and another process goes on. One that is
at a test for ten minutes is killed.

Half of the processes take files from the front, where those stand that wait for real programs. The other half take them
from the back, with a lower priority: tests that only compute use the time that is left and make no other test late.
"""

import multiprocessing
import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.measuring import keep_measured

_LOOK_S: Final = 5.0
_GOES_WITHIN_S: Final = 60.0
"""A process that is no longer needed: it ends what its tests share."""
_NICENESS: Final = 5
_FORK: Final = multiprocessing.get_context("fork")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--at-once", type=int, default=1, metavar="N", help="carry out the files' tests in N processes")
    parser.addoption(
        "--most-s", type=float, default=600.0, metavar="S", help="with --at-once: a test that takes longer has failed"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    count: Any = session.config.getoption("--at-once")
    if count < 2 or session.testsfailed or session.config.getoption("--collect-only"):
        return None  # pytest's own loop does it
    _Controller(session).run(count)
    return True


def _folders(config: Any) -> Any:
    """pytest's tmp_path_factory."""
    return config._tmp_path_factory


class _Hand:
    """One of the processes, and what it has to do."""

    def __init__(self, process: Any, ours: Any, *, is_urgent: bool) -> None:
        self.process = process
        self.ours = ours
        self.is_urgent = is_urgent
        self.has: deque[int] = deque()  # the tests that it was given and has not ended
        self.is_at: int | None = None
        self.heard_at = time.monotonic()
        self.is_through = False


class _Told(NamedTuple):
    """What a process tells: one message a test, as the next one begins."""

    ended: int | None  # a test
    reports: list[Any]  # of it, or of the end of what its tests shared
    begins: int | None  # another one; None: it wants a file's tests
    is_through: bool = False


class _Controller:
    def __init__(self, session: pytest.Session) -> None:
        self._session = session
        self._hook = session.config.hook
        numbered = enumerate(session.items)
        self._files = deque(
            [deque(number for number, _ in file) for _, file in groupby(numbered, lambda each: each[1].path)]
        )
        self._hands: dict[Any, _Hand] = {}
        self._most_s: Any = session.config.getoption("--most-s")
        self._begun = 0
        self._ready = selectors.DefaultSelector()
        self._is_interrupted = False

    def run(self, count: int) -> None:
        _folders(self._session.config).getbasetemp()  # that of all of them
        for number in range(min(count, len(self._files))):
            self._begin(is_urgent=number % 2 == 0)
        try:
            while self._hands:
                for key, _ in self._ready.select(_LOOK_S):
                    self._hear(self._hands[key.fileobj])
                self._kill_those_that_hang()
        except KeyboardInterrupt:
            self._is_interrupted = True
            raise
        finally:
            self._end()

    def _begin(self, *, is_urgent: bool) -> None:
        ours, theirs = _FORK.Pipe()
        self._begun += 1
        work = _Work(self._session, theirs, self._begun, 0 if is_urgent else _NICENESS)
        process = _FORK.Process(target=work.carry_out, args=([*self._hands, ours],))
        process.start()
        theirs.close()
        self._hands[ours] = _Hand(process, ours, is_urgent=is_urgent)
        self._ready.register(ours, selectors.EVENT_READ)

    def _kill_those_that_hang(self) -> None:
        for hand in self._hands.values():
            if hand.is_at is not None and time.monotonic() - hand.heard_at > self._most_s:
                hand.process.kill()

    def _hear(self, hand: _Hand) -> None:
        hand.heard_at = time.monotonic()
        told: _Told | None = None
        with suppress(EOFError, ConnectionError):
            told = hand.ours.recv()
        if told is None:
            self._lose(hand)
            return
        hand.is_at, hand.is_through = told.begins, told.is_through
        self._pass_on(told)
        if told.ended is not None:
            hand.has.remove(told.ended)
            self._stop_if_told()
        if told.begins is None and not told.is_through:
            take = self._files.popleft if hand.is_urgent else self._files.pop
            hand.has = take() if self._files else deque()
            hand.ours.send(list(hand.has))

    def _pass_on(self, told: "_Told") -> None:
        reports = [
            self._hook.pytest_report_from_serializable(config=self._session.config, data=data) for data in told.reports
        ]
        place = {"nodeid": reports[0].nodeid, "location": reports[0].location} if reports else {}
        if told.ended is not None:
            self._hook.pytest_runtest_logstart(**place)
        for report in reports:
            self._hook.pytest_runtest_logreport(report=report)
        if told.ended is not None:
            self._hook.pytest_runtest_logfinish(**place)

    def _lose(self, hand: _Hand) -> None:
        del self._hands[hand.ours]
        self._ready.unregister(hand.ours)
        hand.process.join(_GOES_WITHIN_S)
        hand.ours.close()
        if hand.is_through:
            return
        if hand.is_at is None:
            raise RuntimeError(f"a process of the tests ended between them: exit code {hand.process.exitcode}")
        hand.has.remove(hand.is_at)
        item = self._session.items[hand.is_at]
        place: dict[str, Any] = {"nodeid": item.nodeid, "location": item.location}
        said = f"the process ended meanwhile: exit code {hand.process.exitcode}"
        self._hook.pytest_runtest_logstart(**place)
        report = pytest.TestReport(**place, keywords={}, outcome="failed", longrepr=said, when="call")
        self._hook.pytest_runtest_logreport(report=report)
        self._hook.pytest_runtest_logfinish(**place)
        self._stop_if_told()
        if hand.has:
            put_back = self._files.appendleft if hand.is_urgent else self._files.append
            put_back(hand.has)
        self._begin(is_urgent=hand.is_urgent)

    def _stop_if_told(self) -> None:
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)

    def _end(self) -> None:
        """Those that still run end after their test: nobody hears them any more. Of Ctrl-C they hear only here."""
        for ours, hand in self._hands.items():
            if self._is_interrupted:
                os.kill(hand.process.pid, signal.SIGINT)
            ours.close()
        for hand in self._hands.values():
            hand.process.join(_GOES_WITHIN_S)
            if hand.process.is_alive():
                hand.process.kill()
                hand.process.join()


class _Elsewhere(pytest.Item):
    """Has no more in common with a test than that it is one of the same session."""

    def runtest(self) -> None:
        raise AssertionError


class _Work:
    """Of one process."""

    def __init__(self, session: pytest.Session, controller: Any, number: int, niceness: int) -> None:
        self._session = session
        self._config = session.config
        self._controller = controller
        self._number = number
        self._niceness = niceness
        self._ended: int | None = None
        self._reports: list[Any] = []
        self._elsewhere: pytest.Item = _Elsewhere.from_parent(session, name="elsewhere")  # pyright: ignore[reportUnknownMemberType]

    def carry_out(self, others: Iterable[Any]) -> None:
        for each in others:
            each.close()  # else nobody's end would be heard of
        self._take_share()
        self._become_independent()
        last: pytest.Item | None = None
        try:
            while file := self._ask():
                for number, following in zip(file, [*file[1:], None], strict=True):
                    last = self._session.items[number]
                    self._carry_out(number, following)
            self._end_what_is_shared(last)
            keep_measured(self._config)
            self._tell(is_through=True)
        except (ConnectionError, EOFError, KeyboardInterrupt):
            self._end_what_is_shared(last)  # and nobody is there to be told

    def _take_share(self) -> None:
        """Of the processors. Linux may first share them out among sessions, without regard to the priorities within:
        sched(7), the autogroup feature. Each program that a test starts has a session of its own.
        """
        os.setsid()
        os.nice(self._niceness)
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(self._niceness))

    def _become_independent(self) -> None:
        """Of what was made for the process that this one was forked from."""
        capturing: Any = self._config.pluginmanager.getplugin("capturemanager")
        capturing.stop_global_capturing()
        capturing.start_global_capturing()
        capturing.suspend_global_capture()
        folders = _folders(self._config)
        own = folders._basetemp = folders.getbasetemp() / f"hand-{self._number}"
        own.mkdir(mode=0o700)
        self._config.pluginmanager.unregister(name="terminalreporter")
        self._config.pluginmanager.register(self)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._reports.append(data)

    def _tell(self, begins: int | None = None, *, is_through: bool = False) -> None:
        self._controller.send(_Told(self._ended, self._reports, begins, is_through))
        self._ended, self._reports = None, []

    def _ask(self) -> list[int]:
        """For a file. Returns: its tests; none when all are given."""
        self._tell()
        return self._controller.recv()

    def _carry_out(self, number: int, following: int | None) -> None:
        """What the following test does not need is ended after this one; after a file's last test all but what files
        share.
        """
        items = self._session.items
        nextitem = self._elsewhere if following is None else items[following]
        self._tell(begins=number)
        self._config.hook.pytest_runtest_protocol(item=items[number], nextitem=nextitem)
        self._ended = number

    def _end_what_is_shared(self, last: pytest.Item | None) -> None:
        if last is None:
            return
        session: Any = self._session

        def end() -> None:
            session._setupstate.teardown_exact(None)

        call: Any = pytest.CallInfo.from_call(end, when="teardown")  # pyright: ignore[reportUnknownVariableType]
        if call.excinfo:
            self.pytest_runtest_logreport(pytest.TestReport.from_item_and_call(last, call))
