"""What the state machines of the scripts share: a real Redis that is driven, and beside it a plain one that is told.

The plain one knows no script. A machine says in it what is to be true after a step, and after every step both hold the
same: each key, each value, and how long it has left.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any, ClassVar, Final, TypeVar, cast

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, run_state_machine_as_test

from common.config.settings import RedisSettings, RetentionSettings
from common.runtime.redis.client import connect
from common.runtime.redis.lua import digest_of
from common.runtime.redis.scripts import SHARED
from poolmgr.core.decisions import Decision
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import DisagreementError, Ledger, StaleEpochError
from poolmgr.store.record import Fields
from poolmgr.store.scripts import SCRIPTS
from tests.examples import EXPLORES, examples
from tests.store.conftest import NOW
from tests.waiting import PATIENCE_S
from worker.link import scripts as worker_scripts

LIBRARIES: Final = (SCRIPTS, SHARED, worker_scripts.SCRIPTS)

T = TypeVar("T")
Value = str | list[str] | set[str] | dict[str, str] | dict[str, float] | list[dict[str, str]]

RETENTION: Final = RetentionSettings()
HOUR_S: Final = 3600
DAY_S: Final = 86400
WEEK_S: Final = 7 * DAY_S
MONTH_S: Final = 30 * DAY_S

_ROUNDS: Final = 2
_PATIENCE: Final = 60
_STEPS: Final = 25

_ROUNDED_S: Final = 1
"""Of an end, by Redis."""

_OF_REDIS: Final = ("sequence",)
"""Fields of stream entries with an id that Redis gave."""

_DATABASE: Final = 15
"""Emptied before every run, so no test keeps anything in it."""

_LOOK: Final = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, content = redis.call('TYPE', key).ok, false
  if kind == 'string' then content = redis.call('GET', key) end
  if kind == 'list' then content = redis.call('LRANGE', key, 0, -1) end
  if kind == 'set' then content = redis.call('SMEMBERS', key) end
  if kind == 'zset' then content = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
  if kind == 'hash' then content = redis.call('HGETALL', key) end
  if kind == 'stream' then content = redis.call('XRANGE', key, '-', '+') end
  found[#found + 1] = {key, kind, redis.call('PTTL', key), content}
end
return found
"""

_DUMP: Final = """
local found = redis.call('KEYS', '*')
table.sort(found)
for i = 1, #found do found[#found + 1] = redis.call('DUMP', found[i]) end
return found
"""

_LET_PASS: Final = """
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 and left <= tonumber(ARGV[1]) then redis.call('DEL', key) end
  if left > tonumber(ARGV[1]) then redis.call('PEXPIRE', key, left - ARGV[1]) end
end
"""


class Plain:
    """A Redis of plain Python. What is empty is not there, but for a stream whose entries were deleted."""

    def __init__(self) -> None:
        self.strings: dict[str, str] = {}
        self.lists = defaultdict[str, list[str]](list)
        self.sets = defaultdict[str, set[str]](set)
        self.scores = defaultdict[str, dict[str, float]](dict)
        self.hashes = defaultdict[str, dict[str, str]](dict)
        self.streams: dict[str, list[dict[str, str]]] = {}
        self._left_s: dict[str, float] = {}
        self._may_lack_s: dict[str, float] = {}

    def add(self, stream: str, **fields: str) -> None:
        self.streams.setdefault(stream, []).append(fields)

    def ends_in(self, key: str, seconds: float, may_lack_s: float = 0.0) -> None:
        if key in self.held():
            self._left_s[key], self._may_lack_s[key] = seconds, may_lack_s

    def lasts(self, key: str, seconds: float) -> None:
        """It ends in so many seconds or a little sooner (_lasting.lua)."""
        self.ends_in(key, seconds, seconds / 32)

    def may_lack_s(self, key: str) -> float:
        return self._may_lack_s.get(key, 0.0)

    def left_s(self, key: str) -> float | None:
        return self._left_s.get(key)

    def drop(self, *keys: str) -> None:
        for key in keys:
            self._left_s.pop(key, None)
            for kind in (self.strings, self.lists, self.sets, self.scores, self.hashes, self.streams):
                cast("dict[str, Value]", kind).pop(key, None)

    def let_pass(self, seconds: float) -> None:
        self._left_s = {key: left - seconds for key, left in self._left_s.items()}
        self.drop(*[key for key, left in self._left_s.items() if left <= 0])

    def held(self) -> dict[str, Value]:
        some: dict[str, Value] = {}
        for kind in (self.lists, self.sets, self.scores, self.hashes):
            some |= {key: value for key, value in kind.items() if value}
        held = {**self.strings, **some, **self.streams}
        self._left_s = {key: left for key, left in self._left_s.items() if key in held}
        return held


class OnRedis(RuleBasedStateMachine):
    """Drives a real Redis by its own event loop; `plain` is what it should hold. Time passes for both."""

    ignored: ClassVar[tuple[str, ...]] = ()
    """How the keys begin that the machine says nothing of."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._began = time.monotonic()
        self.redis: Any = connect(RedisSettings(url=f"{url}?db={_DATABASE}", timeout_s=PATIENCE_S))
        self.keys = Keys("poolmgr")
        self.plain = Plain()
        self.now = NOW
        self.epoch = 0
        self._look, self._dump, self._let_pass = map(self.redis.register_script, (_LOOK, _DUMP, _LET_PASS))
        self.do(self._begin())

    async def _begin(self) -> None:
        await self.redis.flushdb()
        if not all(await self.redis.script_exists(*(script.digest for script in SCRIPTS.scripts.values()))):
            await SCRIPTS.load(self.redis)

    def do(self, work: Awaitable[T]) -> T:
        return self._loop.run_until_complete(work)

    def teardown(self) -> None:
        self.do(self.redis.aclose())
        self._loop.close()

    def moment(self) -> float:
        """A time that no step before had."""
        self.now += 1
        return self.now

    def let_pass(self, seconds: float) -> None:
        self.plain.let_pass(seconds)
        self.do(self._let_pass(args=[int(seconds * 1000)]))

    def lead(self, epoch: int) -> None:
        """The leader of `epoch` leads now; its lease is not looked at."""
        self.epoch = epoch
        self.do(self.redis.set(self.keys.epoch, epoch, ex=MONTH_S))
        self.plain.strings[self.keys.epoch] = str(epoch)
        self.plain.ends_in(self.keys.epoch, MONTH_S)

    def ledger(self, epoch: int | None = None) -> Ledger:
        return Ledger(self.redis, self.keys, RETENTION, self.epoch if epoch is None else epoch)

    def apply(self, *decisions: Decision, agrees: bool = True) -> list[Any]:
        try:
            news = self.do(self.ledger().apply(decisions, self.now))
        except DisagreementError:
            assert not agrees, f"refused: {decisions}"
            return []
        assert agrees, f"not refused: {decisions}"
        return news

    def refused(self, *writes: Callable[[], Awaitable[Any]]) -> None:
        """Each write of one who does not lead is refused, and nothing has changed."""
        before = self.do(self._dump())
        for write in writes:
            try:
                self.do(write())
            except StaleEpochError:
                continue
            raise AssertionError(f"not refused: {write}")
        assert self.do(self._dump()) == before, f"refused, and yet done: {writes}"

    def promises(self, held: dict[str, Any]) -> None:
        """To be told what Redis holds, after every step."""

    @invariant()
    def redis_holds_what_it_should(self) -> None:
        held: dict[str, Value] = {}
        left_s: dict[str, float | None] = {}
        for raw_key, kind, left_ms, raw in self.do(self._look()):
            key = raw_key.decode()
            counted = key.startswith(self.keys.usage(""))  # which tests/store/test_usage.py looks at
            if not (counted or (self.ignored and key.startswith(self.ignored))):
                held[key] = _value(kind, raw)
                left_s[key] = None if left_ms == -1 else left_ms / 1000
        expected = self.plain.held()
        wrong = {key: (held.get(key), expected.get(key)) for key in held | expected}
        wrong = {key: (found, due) for key, (found, due) in wrong.items() if found != due}
        assert not wrong, f"Redis holds, should hold: {wrong}"
        passed_s = time.monotonic() - self._began + _ROUNDED_S  # beside other work a run may take a minute
        for key, left in left_s.items():
            due = self.plain.left_s(key)
            lacks_s = passed_s + self.plain.may_lack_s(key)
            as_due = left is due if left is None or due is None else due - lacks_s < left <= due
            assert as_due, f"{key} ends in {left} s, not in {due} s"
        self.promises(held)


def _value(kind: bytes, raw: Any) -> Value:
    match kind:
        case b"string":
            return raw.decode()
        case b"list":
            return [member.decode() for member in raw]
        case b"set":
            return {member.decode() for member in raw}
        case b"zset":
            return {member: float(score) for member, score in _pairs(raw).items()}
        case b"hash":
            return _pairs(raw)
        case _:
            entries = [_pairs(fields) for _, fields in raw]
            return [{name: value for name, value in entry.items() if name not in _OF_REDIS} for entry in entries]


def _pairs(flat: list[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in zip(flat[0::2], flat[1::2], strict=True)}


def text(fields: Fields) -> dict[str, str]:
    return {name: str(value) for name, value in fields.items()}


def run(machine: Callable[..., OnRedis], *arguments: Any) -> None:
    """Let the machine take its random steps. Fails by AssertionError when Redis does not hold what it should."""
    _run(partial(machine, *arguments), settings(), examples(_ROUNDS))


def finds_fault(machine: Callable[..., OnRedis], *arguments: Any) -> None:
    """Fails when the machine does not. What it found is not made small: nobody is going to read it."""
    with pytest.raises(AssertionError):
        # What hypothesis draws depends on what else is imported: it may take longer than in a run of this file alone.
        _run(partial(machine, *arguments), settings(phases=[Phase.generate], report_multiple_bugs=False), _PATIENCE)


def _run(machine: Callable[[], OnRedis], how: settings, rounds: int) -> None:
    # In rounds of ten, because from the eleventh on most of what hypothesis tries are copies of what it has tried.
    first = Random().randrange(2**32) if EXPLORES else 0
    print(f"the rounds' seeds begin with {first}")
    for number in range(first, first + rounds):
        run_state_machine_as_test(
            seed(number)(cast("type[RuleBasedStateMachine]", machine)),
            settings=settings(
                how,
                max_examples=10,
                stateful_step_count=_STEPS,
                database=None,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            ),
        )


def break_script(monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str) -> None:
    """From now on the script says `new` where it says `old`."""
    script = next(library.scripts[name] for library in LIBRARIES if name in library.scripts)
    assert script.source.count(old) == 1, f"not once in the script: {old!r}"
    broken = script.source.replace(old, new)
    monkeypatch.setattr(script, "source", broken)
    monkeypatch.setattr(script, "digest", digest_of(broken))
