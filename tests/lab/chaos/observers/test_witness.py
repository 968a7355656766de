"""The meeting's own view: who is there, and who is not any more, however it went."""

import json

import aiohttp

from lab.chaos.observers.witness import Mark, Seen, Sightings, Witness
from tests.waiting import wait_until


async def test_it_sees_who_comes_who_leaves_and_who_just_vanishes() -> None:
    async with Witness() as witness, aiohttp.ClientSession() as http:
        address = f"http://{witness.address}/r/chaos/ws"
        async with http.ws_connect(address) as leaves, http.ws_connect(address) as vanishes:
            for socket, visit in ((leaves, "1"), (vanishes, "2")):
                for phase in ("lobby", "inside"):
                    await socket.send_json({"tag": "t", "visit": visit, "phase": phase, "pid": 7})
            await wait_until(lambda: len(witness.inside()) == 2)
            await leaves.send_json({"tag": "t", "visit": "1", "phase": "end", "pid": 7})
            await wait_until(lambda: len(witness.inside()) == 1)
        await wait_until(lambda: not witness.present)
        ends = [(mark.visit, mark.seen) for mark in witness.marks if mark.seen in (Seen.LEFT, Seen.GONE)]
        assert ends == [("1", Seen.LEFT), ("2", Seen.GONE)]


async def test_it_serves_the_page_to_browsers_that_are_real() -> None:
    async with Witness() as witness, aiohttp.ClientSession() as http:
        async with http.get(f"http://{witness.address}/r/chaos?tag=t") as answer:
            assert 'id="name-prompt"' in await answer.text()
        async with http.ws_connect(f"http://{witness.address}/r/chaos/ws") as socket:
            await socket.send_str(json.dumps({"tag": "t", "visit": "1", "phase": "prompt"}))
            await socket.close()
        assert witness.marks == []


def test_who_left_before_the_next_one_came_did_so_though_that_is_heard_later() -> None:
    heard = Sightings()
    for mark in (Mark(1.0, Seen.INSIDE, "t", "1"), Mark(2.1, Seen.INSIDE, "t", "2"), Mark(2.0, Seen.LEFT, "t", "1")):
        heard.take(mark)
    assert [(mark.visit, mark.seen) for mark in heard.story()] == [
        ("1", Seen.INSIDE),
        ("1", Seen.LEFT),
        ("2", Seen.INSIDE),
    ]
    assert list(heard.present) == ["2"]
