"""Several managers take, renew and give back one lease, and write under it, in any order and with pauses.

Epochs grow, one at most can renew, and who was replaced writes nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from poolmgr.core.decisions import ForgetVm
from poolmgr.store.keys import Keys
from poolmgr.store.leader.lease import Lease
from tests.store.model import DAY_S, MONTH_S, OnRedis, break_script, finds_fault, run

TTL_S = 600.0
MOST_LEADERS_IN_S: Final = 10  # as lead.lua says
REAL_S: Final = 60.0  # which pass, too, while a machine runs
NAMES: Final = ("m1", "m2", "m3")
names = st.sampled_from(NAMES)
pauses = st.sampled_from([0, 0, TTL_S / 2, TTL_S, DAY_S])


class Managers(OnRedis):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.leases = {name: Lease(self.redis, self.keys, name, TTL_S) for name in NAMES}
        self.held_epoch = defaultdict[str, int](int)
        self.written_with = defaultdict[str, int](int)
        self.newest = 0
        self.passed_s = 0.0

    @property
    def leader(self) -> str | None:
        return self.plain.strings.get(self.keys.leader)

    @property
    def current(self) -> int:
        return int(self.plain.strings.get(self.keys.epoch, "0"))

    def hold(self, name: str, epoch: int) -> None:
        self.passed_s = 0.0  # since it was last renewed
        self.plain.strings |= {self.keys.leader: name, self.keys.epoch: str(epoch)}
        self.plain.ends_in(self.keys.leader, TTL_S)
        self.plain.ends_in(self.keys.epoch, MONTH_S)

    @rule(name=names, after_s=pauses)
    def one_takes(self, name: str, after_s: float) -> None:
        self.time_passes(after_s)
        may = self.leader in (None, name)
        least = self.current + 1 + int(self.passed_s * MOST_LEADERS_IN_S) if self.current else 1
        epoch = self.do(self.leases[name].take())
        assert (epoch > 0) is may
        if epoch:
            assert 0 <= epoch - least <= REAL_S * MOST_LEADERS_IN_S
            self.hold(name, epoch)
        self.held_epoch[name] = epoch
        if epoch:
            assert epoch > self.newest
            self.newest = self.written_with[name] = epoch

    def may_renew(self, name: str) -> bool:
        return 0 < self.held_epoch[name] == self.current and self.leader in (None, name)

    @rule(name=names, after_s=pauses)
    def one_renews(self, name: str, after_s: float) -> None:
        self.time_passes(after_s)
        may = self.may_renew(name)
        if may:
            self.hold(name, self.current)
        assert self.do(self.leases[name].renew()) is may

    @rule(order=st.permutations(NAMES), after_s=pauses)
    def all_renew(self, order: Sequence[str], after_s: float) -> None:
        self.time_passes(after_s)
        leading = [name for name in order if self.do(self.leases[name].renew())]
        assert len(leading) <= 1
        assert leading == [name for name in order if self.may_renew(name)]
        for name in leading:
            self.hold(name, self.current)

    @rule(name=names)
    def one_resigns(self, name: str) -> None:
        if self.leader == name:
            self.plain.drop(self.keys.leader)
        self.do(self.leases[name].resign())

    @rule(name=names)
    def one_writes(self, name: str) -> None:
        """Also one that has heard nothing yet of its successor: it is stopped by its epoch alone."""
        ledger = self.ledger(self.written_with[name])
        write: list[Any] = [ForgetVm("vm1")]
        if 0 < self.written_with[name] == self.current:
            self.do(ledger.apply(write, self.now))
        else:
            self.refused(partial(ledger.apply, write, self.now))

    def time_passes(self, seconds: float) -> None:
        self.let_pass(seconds)
        self.passed_s += seconds
        if not self.current:  # nobody has led for a month
            self.newest = 0


def test_one_manager_leads_whoever_takes_renews_resigns_or_sleeps(redis_server: str) -> None:
    run(Managers, redis_server)


async def test_no_epoch_is_given_twice_though_redis_was_set_back(redis: Any, prefix: str) -> None:
    """The copy knows of epoch 7, last renewed a minute ago. As many may have been given since as there was time for."""
    keys = Keys(prefix)
    await redis.set(keys.epoch, 7, ex=int(MONTH_S) - 60)
    used = 7 + 60 * MOST_LEADERS_IN_S
    first = await Lease(redis, keys, "m1", TTL_S).take()
    assert used < first <= used + REAL_S * MOST_LEADERS_IN_S
    await redis.delete(keys.leader)
    assert first < await Lease(redis, keys, "m2", TTL_S).take() <= first + REAL_S * MOST_LEADERS_IN_S


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [
        ("lead", "if before and before ~= holder then return 0 end", ""),
        ("lead", "if tonumber(redis.call('GET', epoch)) ~= renewed then return 0 end", ""),
        ("lead", "redis.call('INCRBY', epoch, 1 +", "tonumber(redis.call('GET', epoch) or 1) + 0 * ("),
        ("resign", "redis.call('GET', name) == holder", "true"),
    ],
    ids=["takes what is held", "renews what was lost", "old epoch", "resigns for others"],
)
def test_a_lease_that_is_not_exclusive_is_found_out(
    redis_server: str, monkeypatch: pytest.MonkeyPatch, script: str, old: str, new: str
) -> None:
    break_script(monkeypatch, script, old, new)
    finds_fault(Managers, redis_server)
