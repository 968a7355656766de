"""The manager's end of the wire, as tests play it: orders down, events up, assignments. Decides nothing."""

from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from common.wire import codec
from common.wire.keys import WireKeys
from common.wire.messages import Command, Event, Join


class ManagerSide:
    """To one VM, `vm1`. Goes on talking to a server that is stopped and started."""

    def __init__(self, url: str, prefix: str) -> None:
        patient = Retry(ConstantBackoff(0.05), 100)
        # Any: the types of redis-py admit every kind of answer to every command.
        self.redis = cast("Any", Redis.from_url(url, retry=patient))  # pyright: ignore[reportUnknownMemberType]
        self.keys = WireKeys(prefix)
        self.commands = self.keys.commands("vm1")
        self._read: list[tuple[str, Event]] = []
        self._read_to = "-"

    async def order(self, *commands: Command) -> None:
        for command in commands:
            await self.redis.xadd(self.commands, {codec.FIELD: codec.encode(command)})

    async def waiting_commands(self) -> int:
        return await self.redis.xlen(self.commands)

    async def assign(self, join: Join) -> None:
        """What the manager writes before it orders a join."""
        await self.write_bot(join.bot_id, attempt=str(join.attempt), worker_id=join.worker_id, state="assigned")

    async def write_bot(self, bot_id: str, **fields: str) -> None:
        if fields:
            await self.redis.hset(self.keys.bot(bot_id), mapping=fields)

    async def bot(self, bot_id: str) -> dict[str, str]:
        record: dict[bytes, bytes] = await self.redis.hgetall(self.keys.bot(bot_id))
        return {name.decode(): value.decode() for name, value in record.items()}

    async def events(self) -> list[Event]:
        """All of them, from every agent that ran in the test."""
        return [event for _, event in await self.events_with_ids()]

    async def events_with_ids(self) -> list[tuple[str, Event]]:
        entries: list[tuple[bytes, dict[bytes, bytes]]] = await self.redis.xrange(self.keys.events, min=self._read_to)
        self._read += [(fields.get(b"id", b"").decode(), codec.decode_event(fields[b"m"])) for _, fields in entries]
        if entries:
            self._read_to = f"({entries[-1][0].decode()}"
        return self._read
