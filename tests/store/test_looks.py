"""A look at a live bot, asked for and handed on over a real Redis, which keeps nothing but who looked."""

from contextlib import aclosing
from typing import Any

import pytest

from common.wire.looks import Look, Picture, decode_look, encode
from poolmgr.store import looks
from poolmgr.store.actions import Actions, By, Verb, Way
from poolmgr.store.keys import Keys
from poolmgr.store.looks import Looks


async def test_where_no_agent_listens_it_is_said(redis: Any, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "ASKED_EVERY_S", 0.05)
    async with aclosing(Looks(redis, keys).pictures("vm1", "b1")) as pictures:
        for _ in range(2):
            picture = await anext(pictures)
            assert picture
            assert (picture.jpeg, "worker.look is off" in picture.why) == (b"", True)


async def test_pictures_come_from_the_agent_that_is_asked(redis: Any, keys: Keys) -> None:
    async with redis.pubsub(ignore_subscribe_messages=True) as agent:
        await agent.subscribe(keys.looks("vm1"))
        async with aclosing(Looks(redis, keys).pictures("vm1", "b1")) as pictures:
            assert await anext(pictures) is None
            asked = None
            while not asked:
                asked = await agent.get_message(timeout=1.0)
            assert decode_look(asked["data"]) == Look("b1")
            picture = Picture(1.0, "w1", b"\xff\xd8")
            await redis.publish(keys.shown("b1"), encode(picture))
            while (shown := await anext(pictures)) is None:  # a while has passed, and it was asked again
                pass
            assert shown == picture


async def test_who_looks_is_written_down(redis: Any, keys: Keys) -> None:
    await Looks(redis, keys).note("b1", By("ana", Way.API))
    [action] = await Actions(redis, keys).since(0.0, most=10)
    assert (action.who, action.what, action.of) == ("ana", Verb.LOOK, "b1")
