"""Bots that come and go, so that a fleet has something to show: by Redis and by HTTP, with webhooks; some go to a host
that does not answer.
"""

import asyncio
import itertools
import json
from typing import Any, Final

import aiohttp

from lab.demo.stage import DemoStage

EVERY_S: Final = 8.0
STAY_S: Final = 16.0
_LOST_OF: Final = 5
"""One of this many bots goes to a host that does not answer."""


class Traffic:
    """`run` goes on until it is cancelled."""

    def __init__(self, stage: DemoStage, session: aiohttp.ClientSession) -> None:
        self._stage = stage
        self._session = session

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in itertools.count(1):
                group.create_task(self._visit(number), name=f"bot {number}")
                await asyncio.sleep(EVERY_S)

    async def _visit(self, number: int) -> None:
        """One bot, from its job to its end."""
        stage, bot_id = self._stage, f"watch-{number}"
        is_lost = number % _LOST_OF == 1
        link = stage.silent_link if is_lost else stage.meeting_link
        job = {"meeting_link": link, "bot_id": bot_id, "bot_name": f"Notes {number}"}
        if number % 2:
            await self._call("create_bot", {**job, "callback_url": f"{stage.receiver}/webhooks"})
        else:
            await stage.lpush(json.dumps(job))
        if is_lost:  # it ends by itself, after its last attempt
            return
        await asyncio.sleep(STAY_S)
        await self._call(f"{bot_id}/remove_bot", {})

    async def _call(self, path: str, body: Any) -> None:
        """Errors are ignored because metrics show them; for example a bot that has ended cannot be removed."""
        headers = {"Authorization": f"Token {self._stage.token}"}
        async with self._session.post(f"{self._stage.api}/bots/{path}", json=body, headers=headers) as answer:
            await answer.read()
