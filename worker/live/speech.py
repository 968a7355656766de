"""What is said to a bot on its way: read off the meeting's page, and told to whoever listens as it grows."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from playwright.async_api import Page

from common.wire.messages import Join
from common.wire.vocabulary import FeedStatus
from worker.decide.state import State
from worker.live.letters import letter
from worker.live.post import Post, Told
from worker.platforms import adapter_for
from worker.platforms.rules import Captions
from worker.words.reading import Reading
from worker.words.utterances import Said


class Speech:
    """`post`: to the client, if it wants that. `keep`: writes it down for afterwards. `reading`: the task of `read`,
    once there is one.
    """

    def __init__(
        self,
        join: Join,
        page: Callable[[], Page | None],
        state: Callable[[], State | None],
        post: Post | None,
        told: Told,
        keep: Callable[[Sequence[Said]], None],
    ) -> None:
        self._join = join
        self._told = told
        self._keep = keep
        self._step = 0
        self._reading = Reading(self._rules, page, state, self._say, self._show)
        self._is_over = False
        self.post = post
        self.reading: asyncio.Task[None] | None = None

    async def read(self) -> None:
        await self._reading.run()

    def end(self) -> None:
        """The bot is out. Idempotent."""
        if not self._is_over:
            self._is_over = True
            if self.reading:
                self.reading.cancel()
            self._reading.end()
            if self.post:
                self.post.end()

    def _rules(self) -> Captions | None:
        adapter = adapter_for(self._join.platform)
        return adapter.rules.captions if adapter else None

    def _say(self, said: Sequence[Said]) -> None:
        self._keep(said)
        join, feeds = self._join, self._join.feeds
        for one in said if self.post else ():
            self._step += 1
            began = datetime.fromtimestamp(one.began_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            what = (join.bot_id, join.attempt, feeds.transcription_url, feeds.attributes, began)
            assert self.post
            self.post.put([letter(one, self._step, *what)])

    def _show(self, shown: bool) -> None:
        if not shown:
            self._told(FeedStatus.CAPTIONS_UNAVAILABLE, "")
        elif self.post is None or not self.post.sent:
            self._told(FeedStatus.LISTENING, "")
