"""The host of one meeting in the project's own room, as a program: sees who comes and goes, admits, denies, ends.

It reads only the room, so it shows independently whether manager and agent report the truth.

    host.py HOST:PORT MEETING KEY       admits everybody, and prints who comes and goes; SIGTERM ends the meeting

It runs inside the fleet test's machine, as a single file: it may import only what the product requires.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp


class Host:
    """`on_change` is called with who came and who went."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.names: list[str] = []
        self.lobby: dict[str, str] = {}  # name -> id
        self.arrivals: list[str] = []
        self.chat: list[tuple[str, str]] = []
        self.on_change: Callable[[str], None] = lambda _words: None
        self._socket = socket
        self._here: dict[str, str] = {}  # id -> name

    async def watch(self) -> None:
        """Keep the lists up to date until the meeting ends."""
        async for frame in self._socket:
            message = frame.json()
            match message["type"]:
                case "said":
                    self.chat.append((message["name"], message["text"]))
                case "end":
                    self.on_change("the meeting was ended")
                case "meeting":
                    self._see({each["id"]: each["name"] for each in message["participants"]})
                    self.lobby = {each["name"]: each["id"] for each in message.get("lobby", ())}
                case _:
                    pass

    def _see(self, here: dict[str, str]) -> None:
        before, self._here = self._here, here
        self.names = list(here.values())
        for name in (here[id_] for id_ in here if id_ not in before):
            self.arrivals.append(name)
            self.on_change(f"came: {name}")
        for name in (before[id_] for id_ in before if id_ not in here):
            self.on_change(f"went: {name}")

    async def say(self, type: str, **fields: object) -> None:
        await self._socket.send_json({"type": type, **fields})


@asynccontextmanager
async def hosting(link: str, key: str, name: str = "Host") -> AsyncGenerator[Host]:
    """A host in the meeting of this link, as a process."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{link}/ws", params={"host": key}) as socket,
        asyncio.TaskGroup() as group,
    ):
        host = Host(socket)
        await host.say("join", name=name)
        watching = group.create_task(host.watch(), name=name)
        yield host
        watching.cancel()


async def _main(address: str, meeting: str, key: str) -> None:
    ended, asked_to_end = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked_to_end.set)

    def tell(words: str) -> None:
        print(words, flush=True)
        if not words.startswith(("came: ", "went: ")):
            ended.set()

    async with hosting(f"http://{address}/r/{meeting}", key) as host:
        host.on_change = tell
        await host.say("auto_admit", on=True)
        await asked_to_end.wait()
        await host.say("end_for_all")
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await ended.wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:4]))
