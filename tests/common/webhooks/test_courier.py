"""Who is called next: order, limits and fairness, by properties over a virtual clock; and what follows from answers."""

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config.settings import WebhookSettings
from common.webhooks.courier import MOST_REMEMBERED, Bury, Courier, Delivered, Retry, judge
from common.webhooks.outcome import Fault, Outcome

SETTINGS = WebhookSettings(retry_first_s=5, retry_most_s=60, retry_for_s=1000)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_success_is_a_delivery(status: int) -> None:
    assert judge(Outcome(status), 9, 0, 1e6, SETTINGS, 0) == Delivered()


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [(Outcome(410), "gone"), (Outcome(fault="address_not_allowed"), "address_not_allowed")],
)
def test_what_will_never_be_taken_is_given_up_at_once(outcome: Outcome, reason: str) -> None:
    assert judge(outcome, 1, 0, 1, SETTINGS, 0) == Bury(reason)  # pyright: ignore[reportArgumentType]


def test_delays_double_up_to_the_most_and_are_spread_by_a_quarter() -> None:
    for chance, spread in ((0.0, 0.75), (0.5, 1.0), (1.0, 1.25)):
        verdicts = [judge(Outcome(500), number, 0, 100, SETTINGS, chance) for number in (1, 2, 3, 4, 5, 99)]
        delays = [verdict.at - 100 for verdict in verdicts if isinstance(verdict, Retry)]
        assert delays == pytest.approx([delay * spread for delay in (5, 10, 20, 40, 60, 60)])


@pytest.mark.parametrize(("asked_s", "waits_s"), [(1, 5), (30, 30), (86400, 60)])
def test_a_receiver_may_ask_for_more_time_within_the_most(asked_s: float, waits_s: float) -> None:
    assert judge(Outcome(503, retry_after_s=asked_s), 1, 0, 0, SETTINGS, 0.5) == Retry(waits_s)


@pytest.mark.parametrize("fault", ["timeout", "connection_failed", "tls_failed", "redirected", "bad_answer"])
def test_after_its_time_it_is_given_up_and_just_before_tried_a_last_time(fault: Fault) -> None:
    outcome = Outcome(fault=fault)
    assert judge(outcome, 5, 0, 999, SETTINGS, 0.5) == Retry(1000)
    assert judge(outcome, 6, 0, 1000, SETTINGS, 0.5) == Bury("too_old")
    assert judge(outcome, 1, 0, 5000, SETTINGS, 0.5) == Bury("too_old"), "even the first one"


def test_a_bot_is_called_for_once_at_a_time_and_what_comes_meanwhile_is_not_lost() -> None:
    courier = Courier(10, 10)
    courier.put("b", "h", 5)
    courier.put("b", "h", 1)
    assert (courier.next(4), courier.wake_at()) == ([], 5)
    assert (courier.next(5), courier.wake_at()) == (["b"], None)
    courier.put("b", "h", 6)  # its line was found empty, by the attempt under way, before this was put into it
    assert courier.next(7) == []
    courier.over("b", answers=True, due_at=None)
    assert courier.next(7) == ["b"]
    assert (len(courier), courier.busy) == (1, 1)
    courier.over("b", answers=None, due_at=None)
    assert (len(courier), courier.busy, courier.wake_at()) == (0, 0, None)


def test_a_host_is_called_once_at_a_time_until_it_answers_and_again_when_it_fails() -> None:
    courier = Courier(100, 3)
    for number in range(10):
        courier.put(str(number), "h", 0)
    assert courier.next(0) == ["0"]
    courier.over("0", answers=True, due_at=None)
    assert courier.next(0) == ["1", "2", "3"]
    courier.over("1", answers=False, due_at=None)
    assert courier.next(0) == []
    courier.over("2", answers=True, due_at=None)
    courier.over("3", answers=False, due_at=5)
    assert courier.next(0) == ["4"]


def test_hosts_that_do_not_answer_leave_half_of_the_room_to_those_that_do() -> None:
    courier = Courier(4, 4)
    courier.put("good-0", "good", 0)
    courier.over(*courier.next(0), answers=True, due_at=None)
    for number in range(10):
        courier.put(f"dead-{number}", f"dead-{number}", 0)
    assert courier.next(0) == ["dead-0", "dead-1"]
    for number in range(1, 4):
        courier.put(f"good-{number}", "good", 0)
    assert courier.next(0) == ["good-1", "good-2"], "it is remembered that it answered"


def test_who_is_new_waits_for_nobody_who_is_known_to_be_bad() -> None:
    courier = Courier(4, 4)
    for number in range(10):
        courier.put(f"dead-{number}", f"dead-{number}", 0)
    for _ in range(5):
        for bot_id in courier.next(0):
            courier.over(bot_id, answers=False, due_at=1)
    assert courier.next(1) == ["dead-0"], "a quarter of the room"
    courier.put("new", "new", 1)
    assert courier.next(1) == ["new"], "at once: none of the bad ones has to come back first"


def test_a_limited_number_of_hosts_is_remembered() -> None:
    courier = Courier(4, 4)
    for number in range(MOST_REMEMBERED + 1):
        courier.put("b", str(number), 0)
        courier.over(*courier.next(0), answers=True, due_at=None)
    for host, at_once in (("0", 1), ("1", 4)):
        bots = [f"{host}-{number}" for number in range(4)]
        for bot_id in bots:
            courier.put(bot_id, host, 0)
        called = courier.next(0)
        assert called == bots[:at_once]
        while called:
            for bot_id in called:
                courier.over(bot_id, answers=False, due_at=None)
            called = courier.next(0)


class Receivers:
    """A virtual world: lines of webhooks, hosts with a temper, a clock. Checks the limits at every step."""

    def __init__(self, seed: int, hosts: int, at_once: int, at_once_per_host: int) -> None:
        self.chance = random.Random(seed)
        self.courier = Courier(at_once, at_once_per_host)
        self.limits = (at_once, at_once_per_host)
        self.temper = [self.chance.choice([0.0, 0.0, 0.3, 0.7, 1.0]) for _ in range(hosts)]  # how often it fails
        self.slow = [self.chance.choice([0.01, 0.1, 15.0]) for _ in range(hosts)]
        self.lines: dict[str, list[int]] = {}
        self.arrived: dict[str, list[int]] = {}
        self.under_way: list[tuple[float, str]] = []
        self.now = 0.0

    def put(self, bot_id: str, number: int) -> None:
        self.lines.setdefault(bot_id, []).append(number)
        self.courier.put(bot_id, self.host(bot_id), self.now)

    def host(self, bot_id: str) -> str:
        return bot_id.partition("/")[0]

    def step(self) -> bool:
        """On to whatever is next; False when nothing is left."""
        for bot_id in self.courier.next(self.now):
            assert self.lines[bot_id], "nobody is called for nothing"
            assert bot_id not in [other for _, other in self.under_way]
            took_s = self.slow[int(self.host(bot_id))] * self.chance.uniform(0.5, 1)
            heapq.heappush(self.under_way, (self.now + took_s, bot_id))
        at_once, at_once_per_host = self.limits
        assert len(self.under_way) == self.courier.busy <= at_once
        hosts = [self.host(bot_id) for _, bot_id in self.under_way]
        assert all(hosts.count(host) <= at_once_per_host for host in hosts)
        times = [at for at in (self.courier.wake_at(), self.under_way[0][0] if self.under_way else None) if at]
        if not times:
            return False
        self.now = max(self.now, min(times))
        while self.under_way and self.under_way[0][0] <= self.now:
            self.answer(heapq.heappop(self.under_way)[1])
        return True

    def answer(self, bot_id: str) -> None:
        fails = self.chance.random() < self.temper[int(self.host(bot_id))]
        if not fails or self.chance.random() < 0.1:
            self.arrived.setdefault(bot_id, []).append(self.lines[bot_id][0])  # some are late, and come again
        if not fails or self.chance.random() < 0.05:  # or it is given up
            self.lines[bot_id].pop(0)
        due_at = self.now + (self.chance.uniform(0, 60) if fails else 0) if self.lines[bot_id] else None
        self.courier.over(bot_id, answers=not fails, due_at=due_at)


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 8), st.integers(1, 4))
def test_everything_is_called_for_in_order_within_the_limits(
    seed: int, hosts: int, at_once: int, at_once_per_host: int
) -> None:
    world = Receivers(seed, hosts, at_once, at_once_per_host)
    for number in range(60):
        world.put(f"{world.chance.randrange(hosts)}/{world.chance.randrange(4)}", number)
        for _ in range(world.chance.randrange(3)):
            world.step()
    for _ in range(20_000):
        if not world.step():
            break
    assert not any(world.lines.values()), "every line comes to its end"
    assert len(world.courier) == world.courier.busy == 0
    for bot_id, numbers in world.arrived.items():
        assert numbers == sorted(numbers), bot_id


def test_ten_thousand_bots_of_a_dead_host_keep_nobody_waiting() -> None:
    courier = Courier(256, 8)
    for number in range(10_000):
        courier.put(f"dead-{number}", "dead", 0)
    (dead,) = courier.next(0)
    for number in range(100):
        courier.put(f"good-{number}", f"good-{number % 10}", 1)
    called: list[str] = []
    while batch := courier.next(1):
        for bot_id in batch:
            called.append(bot_id)
            courier.over(bot_id, answers=True, due_at=None)
    assert sorted(called) == sorted(f"good-{number}" for number in range(100))
    courier.over(dead, answers=False, due_at=2)
    assert courier.next(1) == ["dead-1"]
