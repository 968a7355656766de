"""The host of one meeting, as a program: admits everybody, and writes down who comes and who goes. SIGTERM ends the
meeting for all.

    witness.py HOST:PORT MEETING KEY

Runs inside the machine, as a file of its own: only with what the product's requirements bring.
"""

import asyncio
import contextlib
import signal
import sys

import aiohttp


async def main(address: str, meeting: str, key: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://{address}/r/{meeting}/ws", params={"host": key}) as socket,
        asyncio.TaskGroup() as group,
    ):
        await socket.send_json({"type": "join", "name": "Host"})
        await socket.send_json({"type": "auto_admit", "on": True})
        watching = group.create_task(_watch(socket), name="watch the meeting")
        await stop.wait()
        await socket.send_json({"type": "end_for_all"})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.wait([watching])
        watching.cancel()


async def _watch(socket: aiohttp.ClientWebSocketResponse) -> None:
    here: dict[str, str] = {}
    async for frame in socket:
        message = frame.json()
        if message["type"] == "end":
            print("the meeting was ended", flush=True)
        if message["type"] != "meeting":
            continue
        now = {one["id"]: one["name"] for one in message["participants"]}
        for name in [now[id_] for id_ in now if id_ not in here]:
            print(f"came: {name}", flush=True)
        for name in [here[id_] for id_ in here if id_ not in now]:
            print(f"went: {name}", flush=True)
        here = now


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
