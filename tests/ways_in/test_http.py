"""Jobs through the HTTP API: the published client, and the serverless trigger with the real API."""

import asyncio
import runpy
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from meetstream import AsyncMeetStream, MeetStream

from tests.waiting import wait_until
from tests.ways_in.conftest import LINK, TOKEN, House, Visit

TRIGGER = Path(__file__).parents[2] / "deploy" / "serverless" / "handler.py"


async def led(visit: Visit) -> None:
    """Until there is somebody who takes jobs."""
    await wait_until(visit.views.leads)


async def test_the_published_client(house: House, visit: Visit) -> None:
    await led(visit)

    def create() -> Any:
        with MeetStream(api_key=TOKEN, base_url=f"{house.manager.api}/api/v1") as client:
            job = {"meeting_link": LINK, "bot_name": "Notetaker", "user_id": "sdk"}
            first = client.bots.create(job, idempotency_key="of-the-sdk")
            assert client.bots.create(job, idempotency_key="of-the-sdk")["bot_id"] == first["bot_id"]
            return first

    created = await asyncio.to_thread(create)
    assert (await visit.ended("sdk"))["bot_id"] == created["bot_id"]


async def test_the_published_client_of_asyncio(house: House, visit: Visit) -> None:
    await led(visit)
    async with AsyncMeetStream(api_key=TOKEN, base_url=f"{house.manager.api}/api/v1") as client:
        created: Any = await client.bots.create({"meeting_link": LINK, "bot_name": "Notetaker", "user_id": "sdk-async"})
        assert (await client.bots.status(created["bot_id"]))["bot_id"] == created["bot_id"]
    assert (await visit.ended("sdk-async"))["bot_id"] == created["bot_id"]


@pytest.mark.long
async def test_the_serverless_trigger(house: House, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    await led(visit)
    monkeypatch.setattr(sys, "path", [*sys.path, str(TRIGGER.parent)])  # as Lambda has it
    handler: Callable[[Any], dict[str, Any]] = runpy.run_path(str(TRIGGER))["handler"]
    monkeypatch.setenv("POOLMGR_API_URL", house.manager.api)
    monkeypatch.setenv("POOLMGR_API_TOKEN", TOKEN)
    monkeypatch.setenv("POOLMGR_ALLOW_HTTP", "1")
    start = datetime.now(UTC) + timedelta(hours=1)
    event = {
        "kind": "calendar#event",
        "id": "event-1",
        "start": {"dateTime": start.isoformat()},
        "end": {"dateTime": (start + timedelta(hours=1)).isoformat()},
        "hangoutLink": "https://meet.google.com/abc-defg-hij",
        "organizer": {"email": "ada@example.com"},
    }
    first = await asyncio.to_thread(handler, event)
    again = await asyncio.to_thread(handler, event)
    assert (first["outcome"], again["outcome"]) == ("created", "known")
    job = {"meeting_link": LINK, "user_id": "trigger"}
    assert (await asyncio.to_thread(handler, job))["outcome"] == "created"
    await visit.ended("trigger")
    (scheduled,) = await visit.bots_of("ada@example.com")
    assert (scheduled["bot_id"], scheduled["state"]) == (first["bot_id"], "scheduled")
    assert scheduled["calendar_event_id"] == "event-1"
