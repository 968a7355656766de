"""The waiting line: priority, then due time, then arrival; leaving costs nothing and leaves nothing behind."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.wire.vocabulary import BotState
from poolmgr.core.model import Bot
from poolmgr.core.queue import BotQueue
from tests.core.builders import job


def waiting(bot_id: str, seq: int = 0, priority: int = 0, join_at: float | None = None, created: float = 10.0) -> Bot:
    return Bot(bot_id, job(priority, join_at), seq, created, BotState.QUEUED)


def taken(queue: BotQueue) -> Bot:
    """The first one, which waits no longer. Raises: IndexError when nobody waits."""
    bot = queue.first()[0]
    queue.leave(bot.bot_id)
    return bot


def order_of(*bots: Bot) -> list[str]:
    queue = BotQueue()
    for bot in bots:
        queue.add(bot)
    return [taken(queue).bot_id for _ in range(len(queue))]


@pytest.mark.parametrize(
    ("bots", "expected"),
    [
        ((waiting("a", 1), waiting("b", 2)), ["a", "b"]),
        ((waiting("b", 2), waiting("a", 1)), ["a", "b"]),
        ((waiting("a", 1), waiting("b", 2, priority=1)), ["b", "a"]),
        ((waiting("a", 1, priority=-1), waiting("b", 2)), ["b", "a"]),
        ((waiting("a", 2, created=9), waiting("b", 1)), ["a", "b"]),
        ((waiting("late", 1, join_at=30), waiting("early", 2, join_at=20)), ["early", "late"]),
        ((waiting("a", 1), waiting("due later", 2, join_at=11)), ["a", "due later"]),
        ((waiting("due sooner", 2, join_at=11), waiting("a", 1, created=12)), ["due sooner", "a"]),
        ((waiting("a", 1), waiting("past", 2, join_at=1)), ["a", "past"]),
        ((waiting("a", 1), waiting("epoch", 2, join_at=0)), ["a", "epoch"]),
    ],
)
def test_the_line_is_in_order(bots: tuple[Bot, ...], expected: list[str]) -> None:
    assert order_of(*bots) == expected


def test_a_bot_stands_in_line_once() -> None:
    queue = BotQueue()
    queue.add(waiting("a"))
    queue.add(waiting("a"))
    assert len(queue) == 1
    assert taken(queue).bot_id == "a"
    assert "a" not in queue


def test_who_left_is_not_taken() -> None:
    queue = BotQueue()
    queue.add(waiting("a", 1))
    queue.add(waiting("b", 2))
    queue.leave("a")
    queue.leave("nobody")
    assert "a" not in queue
    assert taken(queue).bot_id == "b"


@pytest.mark.parametrize("left", [(), ("a",)])
def test_nobody_can_be_taken_from_an_empty_line(left: tuple[str, ...]) -> None:
    queue = BotQueue()
    for bot_id in left:
        queue.add(waiting(bot_id))
        queue.leave(bot_id)
    with pytest.raises(IndexError):
        taken(queue)


def test_who_comes_and_leaves_again_leaves_nothing_behind() -> None:
    queue = BotQueue()
    bots = [waiting(f"b{n}", n) for n in range(10_000)]
    tracemalloc.start()
    try:
        for bot in bots:
            queue.add(bot)
            queue.leave(bot.bot_id)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 100_000


def test_who_comes_back_has_the_old_place() -> None:
    queue = BotQueue()
    first, second = waiting("first", 1), waiting("second", 2)
    queue.add(first)
    queue.add(second)
    assert taken(queue) is first
    queue.add(first)
    assert taken(queue) is first


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "leave", "take"]),
            st.integers(0, 5),
        ),
        max_size=40,
    )
)
def test_the_line_is_always_what_a_sorted_list_would_be(steps: list[tuple[str, int]]) -> None:
    bots = [waiting(f"b{n}", n, priority=n % 2, join_at=100 - n) for n in range(6)]
    queue = BotQueue()
    model: dict[str, Bot] = {}
    for step, n in steps:
        bot = bots[n]
        if step == "add":
            queue.add(bot)
            model[bot.bot_id] = bot
        elif step == "leave":
            queue.leave(bot.bot_id)
            model.pop(bot.bot_id, None)
        elif model:
            expected = min(model.values(), key=lambda waiting: waiting.order)
            assert taken(queue) is model.pop(expected.bot_id)
        assert len(queue) == len(model)
        assert [b.bot_id in queue for b in bots] == [b.bot_id in model for b in bots]


def test_all_that_wait_can_be_looked_at() -> None:
    queue = BotQueue()
    for bot_id in "abc":
        queue.add(waiting(bot_id))
    queue.leave("b")
    assert {bot.bot_id for bot in queue} == {"a", "c"}
