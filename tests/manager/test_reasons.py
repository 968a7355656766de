"""Every end as it is told outside: record, status stream, webhooks, HTTP API, metrics, `poolmgr explain`."""

import asyncio
import hashlib
import json
from typing import Final, NamedTuple

import aiohttp
import pytest

from common.wire.vocabulary import Reason, WorkerState
from tests.cli.conftest import CommandLine
from tests.manager.conftest import Scene
from tests.manager.test_webhooks import ENVIRONMENT, Receiver
from tests.waiting import wait_until

TOKEN: Final = "pm_a-token-of-the-tests-that-nobody-guesses"


class Told(NamedTuple):
    bot_event: str
    status: str
    code: int
    attribution: str


STOPPED: Final = Told("bot.stopped", "Stopped", 200, "host")
FAILED: Final = Told("bot.failed", "Error", 500, "us")
BY_HOST: Final = FAILED._replace(attribution="host")
BY_USER: Final = FAILED._replace(attribution="user")
BY_PLATFORM: Final = FAILED._replace(attribution="platform")
SHEET: Final[dict[str, Told]] = {
    "user_requested": STOPPED._replace(attribution="user"),
    "meeting_ended": STOPPED,
    "everyone_left": STOPPED,
    "no_one_joined": STOPPED,
    "silence": STOPPED,
    "max_duration": STOPPED._replace(attribution="user"),
    "only_bots_left": STOPPED,
    "removed_by_host": STOPPED._replace(bot_event="bot.kicked"),
    "waiting_room_timeout": Told("bot.notallowed", "NotAllowed", 500, "host"),
    "host_not_started": Told("bot.notallowed", "NotAllowed", 500, "host"),
    "never_admitted": Told("bot.notallowed", "NotAllowed", 500, "host"),
    "session_limit": STOPPED._replace(attribution="us"),
    "request_denied": Told("bot.denied", "Denied", 500, "host"),
    "sign_in_required": BY_HOST,
    "org_only": BY_HOST,
    "registration_required": BY_HOST,
    "passcode_missing": BY_USER,
    "passcode_wrong": BY_USER,
    "meeting_not_found": BY_USER,
    "meeting_full": BY_PLATFORM,
    "meeting_locked": BY_HOST,
    "captcha": BY_PLATFORM,
    "platform_blocked": BY_PLATFORM,
    "recording_permission_denied": BY_HOST,
    "page_load_failed": BY_PLATFORM,
    "ui_element_not_found": FAILED,
    "unexpected_redirect": BY_PLATFORM,
    "connection_lost": BY_PLATFORM,
    "no_media": BY_PLATFORM,
    "ice_failed": BY_PLATFORM,
    "capture_failed": FAILED,
    "browser_crashed": FAILED,
    "browser_hung": FAILED,
    "memory_limit": FAILED,
    "cut_off": FAILED,
    "worker_lost": FAILED,
    "heartbeat_timeout": FAILED,
    "overdue": FAILED,
    "no_capacity": FAILED,
    "requirement_unmet": FAILED,
    "missed_start": BY_USER,
    "unsupported_platform": FAILED,
    "shutdown": FAILED,
    "internal_error": FAILED,
}
OF_NO_BOT: Final = {"superseded", "invalid_request"}  # of an attempt that counts no more; of a job that is none
WHOSE: Final = {
    "host": "the host's doing",
    "platform": "the platform's doing",
    "user": "the client's doing",
    "us": "our doing",
}


def test_the_sheet_has_every_reason() -> None:
    assert {*SHEET} | OF_NO_BOT == {reason.value for reason in Reason}


@pytest.mark.long
async def test_every_reason_is_told_alike_wherever_it_is_told(scene: Scene) -> None:
    tokens = f'[{{ name = "t", sha256 = "{hashlib.sha256(TOKEN.encode()).hexdigest()}" }}]'
    manager = scene.manager(**ENVIRONMENT, POOLMGR_API__TOKENS=tokens)
    receiver = Receiver()
    await receiver.start()
    async with (
        aiohttp.ClientSession(f"{manager.api}/", headers={"Authorization": f"Token {TOKEN}"}) as api,
        scene.agent("vm-a").running() as agent,
    ):
        for reason in SHEET:
            attributes = {"why": reason}
            await scene.push(reason, callback_url=receiver.url, custom_attributes=attributes, on_worker_lost="end")
            await scene.until_state(reason, "in_meeting")
            if reason == str(Reason.USER_REQUESTED):
                async with api.get(f"api/v1/bots/{reason}/remove_bot") as answer:
                    assert answer.status == 200
            else:
                [busy] = [name for name, worker in agent.workers.items() if worker.state is WorkerState.BUSY]
                await agent.end(busy, Reason(reason))
            await scene.until_state(reason, "stopped")
        await scene.push("bad", meeting_link="https://example.com/nothing", callback_url=receiver.url)
        await wait_until(lambda: all(receiver.of(reason)[-1:] == ["bot.done"] for reason in SHEET))
        stream: dict[str, dict[str, str]] = {}

        async def has_told_of_all() -> bool:
            for _, raw in await scene.redis.xrange(scene.keys.status):
                fields = {name.decode(): value.decode() for name, value in raw.items()}
                stream[fields["bot_id"]] = fields
            return "bad" in stream

        await wait_until(has_told_of_all)
        command = CommandLine(scene.url, scene.prefix)
        for reason, told in SHEET.items():
            record = await scene.record(reason)
            assert (record["status"], record["status_reason"], record["attribution"]) == (
                told.status,
                reason,
                told.attribution,
            )
            assert (stream[reason]["status"], stream[reason]["status_reason"]) == (told.status, reason)
            last = [
                hook
                for hook in receiver.first_arrivals()
                if hook["bot_id"] == reason and hook["event"] == "bot.stopped"
            ]
            assert [
                (hook["bot_event"], hook["bot_status"], hook["status_code"], hook["reason"], hook["attribution"])
                for hook in last
            ] == [(told.bot_event, told.status, told.code, reason, told.attribution)]
            assert last[0]["custom_attributes"] == {"why": reason}
            assert last[0]["message"]
            async with api.get(f"api/v1/bots/{reason}/detail") as answer:
                detail = json.dumps(await answer.json())
            assert all(f'"{word}"' in detail for word in (told.status, reason, told.attribution))
            page = await asyncio.to_thread(command, "explain", reason)
            assert f"{told.status}  {reason}, {WHOSE[told.attribution]}" in page.stdout
            assert "What it means" in page.stdout
        assert (stream["bad"]["status"], stream["bad"]["status_reason"]) == ("Error", "invalid_request")

        async def counted() -> bool:
            async with api.get(manager.metrics) as answer:
                metrics = await answer.text()
            return all(metrics.count(f'poolmgr_bots_ended_total{{reason="{reason}"}} 1.0') == 1 for reason in SHEET)

        await wait_until(counted)
    await receiver.stop()
