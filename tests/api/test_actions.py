"""What callers do is written down with the name of their token; what is refused is not."""

import pytest

from common.wire.vocabulary import BotState
from poolmgr.store.actions import Way
from tests.api.conftest import OWN, World, world
from tests.waiting import wait_until

__all__ = ["world"]


async def told(world: World) -> list[tuple[str, str, str]]:
    actions = await world.views.actions.since(0.0, most=100)
    assert {action.way for action in actions} <= {Way.API}
    return [(action.who, action.what, action.of) for action in actions]


async def test_each_deed_is_told_with_the_name_of_the_token(world: World) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.enter("b2")
    await hand.end("b2")
    async with world.serving() as call:
        await call("POST", "/bots/b1/send_message", {"message": "hello"})
        await call("GET", "/bots/b1/remove_bot")
        assert (await call("DELETE", "/bots/b2/delete")).status == 200
        made = (await call.as_(OWN).create()).body["bot_id"]
    assert await told(world) == [
        ("app", "say", "b1"), ("app", "leave", "b1"), ("app", "delete", "b2"), ("own", "submit", made),
    ]  # fmt: skip


async def test_what_is_refused_is_not_told(world: World) -> None:
    hand = await world.ledger()
    await hand.accept("b1")
    async with world.serving() as call:
        for method, path, body in (
            ("POST", "/bots/b1/send_message", {"message": "hello"}),
            ("DELETE", "/bots/b1/delete", None),
            ("POST", "/bots/none/remove_bot", None),
        ):
            assert (await call(method, path, body)).status in (404, 409)
        assert (await call.as_("pm_guessed")("POST", "/bots/b1/remove_bot")).status == 403
        assert (await call.as_(OWN)("POST", "/bots/b1/remove_bot")).status in (403, 404)
    assert await told(world) == []


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_scheduled_bot_is_moved_or_called_off_by_somebody(method: str, world: World) -> None:
    hand = await world.ledger()
    await hand.accept("b1", BotState.SCHEDULED, join_at="2027-02-01T00:00:00Z")
    async with world.serving() as call:
        body = {"scheduled_join_time": "2027-03-01T00:00:00Z"} if method == "PATCH" else None

        async def is_told() -> bool:
            return bool(await told(world))

        answer = await call(method, "/calendar/scheduled_bots/b1", body)
        assert answer.status in (200, 503)  # nobody leads
        await wait_until(is_told)
    assert await told(world) == [("app", "reschedule" if method == "PATCH" else "leave", "b1")]
