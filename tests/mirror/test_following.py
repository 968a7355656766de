"""The mirror against moto's table, which throttles, fails, hangs and loses answers, and mirrors that are killed."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.jobs.record import epoch
from common.runtime.exits import EXIT_FAILED
from common.wire.vocabulary import BotState
from poolmgr.mirror.table import CannotMirrorError
from poolmgr.store.actions import By, Way
from poolmgr.store.forgetting import forget
from poolmgr.store.mirroring import Mirrored
from tests.fork_server import ForkServer
from tests.mirror.conftest import KEEP_S, Bots, Running, table_equals_records
from tests.mirror.dynamo import Dynamo, refused, throttled
from tests.providers.amazon import on_an_instance
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
async def table(dynamo: Dynamo) -> Dynamo:
    await dynamo.make()
    return dynamo


async def test_the_table_says_what_the_records_say_as_they_change(table: Dynamo, bots: Bots) -> None:
    await bots.whole("before")
    async with Running(bots, table):
        await table_equals_records(table, bots)
        await bots.accept("b1")
        await table_equals_records(table, bots)
        await bots.assign("b1")
        await bots.move("b1", BotState.JOINING)
        await bots.again("b1")
        await table_equals_records(table, bots)
        await bots.assign("b1", 2)
        await bots.move("b1", BotState.IN_MEETING, 2)
        await table_equals_records(table, bots)
        await bots.end("b1", attempt=2)
        await table_equals_records(table, bots)
    item = (await table.items())["b1"]
    assert int(item["expires_at"]) == int(epoch(item["stopped_at"]) + KEEP_S)
    assert (item["attempt"], item["status"], item["audio_webhook_received"]) == ("2", "Stopped", False)


@pytest.mark.long
async def test_credentials_that_come_later_are_found(
    table: Dynamo, bots: Bots, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bots.whole("b1")
    async with on_an_instance(monkeypatch) as metadata:
        with capture_logs() as logs:
            async with Running(bots, table):
                await wait_until(lambda: any("NoCredentialsError" in log.get("error", "") for log in logs))
                metadata.role = "mirror"
                await table_equals_records(table, bots)


async def test_what_a_receiver_took_is_told_after_the_end(table: Dynamo, bots: Bots) -> None:
    await bots.whole("b1")
    async with Running(bots, table):
        await table_equals_records(table, bots)
        await bots.redis.hset(bots.keys.bot("b1"), "audio_webhook_received", 1)
        await bots.redis.xadd(bots.keys.noted, {"bot_id": "b1", "field": "audio_webhook_received"})
        await bots.redis.expire(bots.keys.noted, 60)
        await table_equals_records(table, bots)
    assert (await table.items())["b1"]["audio_webhook_received"]


@pytest.mark.long
async def test_of_a_bot_that_was_deleted_nothing_is_left_and_nothing_late_brings_it_back(
    table: Dynamo, bots: Bots
) -> None:
    await bots.whole("b1", "b2")
    async with Running(bots, table):
        await table_equals_records(table, bots)
        await forget(bots.redis, bots.keys, "b1", by=By("crm", Way.API))
        await wait_until(_is_deleted(table, "b1"))
        # A change of it that was not read before.
        await bots.redis.xadd(bots.keys.status, {"bot_id": "b1", "state": "stopped"})
        await bots.accept("b3")
        await table_equals_records(table, bots)
    assert set((await table.items())["b1"]) == {"bot_id", "sequence", "deleted", "expires_at"}
    await bots.accept("b1")  # another bot of that name
    async with Running(bots, table):
        await table_equals_records(table, bots)
    assert "deleted" not in (await table.items())["b1"]


def _is_deleted(table: Dynamo, bot_id: str) -> Any:
    async def look() -> bool:
        return bool((await table.items())[bot_id].get("deleted"))

    return look


# A table that does not do as it is told


@pytest.mark.long
async def test_a_table_that_throttles_fails_and_loses_answers_is_written_all_the_same(
    table: Dynamo, bots: Bots
) -> None:
    await bots.whole("b1", "b2", "b3", "b4")
    table.answers = {
        "DescribeTable": [refused("InternalServerError", status=500)],
        "UpdateItem": [throttled(), refused("InternalServerError", status=500), throttled(), throttled(), throttled()],
    }
    table.loses = 2
    async with Running(bots, table):
        await table_equals_records(table, bots)
    assert table.answers == {"DescribeTable": [], "UpdateItem": []}
    standing = await Mirrored(bots.redis, bots.keys).standing()
    assert standing
    assert (standing.fault, standing.refused) == ("", 0)


@pytest.mark.long
async def test_while_the_table_hangs_it_says_so_and_goes_on_where_it_was(table: Dynamo, bots: Bots) -> None:
    mirrored = Mirrored(bots.redis, bots.keys)
    async with Running(bots, table, timeout_s=3.0):
        await bots.accept("b1")
        await table_equals_records(table, bots)
        table.hangs = True
        await bots.assign("b1")

        async def has_fault() -> bool:
            standing = await mirrored.standing()
            return bool(standing and "did not answer within 3 s" in standing.fault and standing.behind_s > 0)

        await wait_until(has_fault)
        table.hangs = False
        await table_equals_records(table, bots)


async def test_an_item_that_the_table_will_never_take_holds_up_no_other(table: Dynamo, bots: Bots) -> None:
    await bots.accept("b1", "b2", "b3")
    table.answers = {"UpdateItem": [refused("ValidationException", "Item size has exceeded the maximum allowed size")]}
    mirrored = Mirrored(bots.redis, bots.keys)
    async with Running(bots, table):

        async def has_refused() -> bool:
            standing = await mirrored.standing()
            return bool(standing and standing.refused == 1 and len(await table.items()) == 2)

        await wait_until(has_refused)


async def test_no_table_and_a_table_with_another_key_are_told_at_once(dynamo: Dynamo, bots: Bots) -> None:
    running = Running(bots, dynamo)
    async with running:
        with pytest.raises(CannotMirrorError, match=rf"there is no table {dynamo.table} in this region"):
            await running.ended()
    await dynamo.make(({"AttributeName": "id", "KeyType": "HASH"},))
    running = Running(bots, dynamo)
    async with running:
        with pytest.raises(CannotMirrorError, match="is not bot_id alone"):
            await running.ended()


def test_without_the_package_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "aiobotocore.py").write_text("raise ImportError('No module named aiobotocore')")
    command = (sys.executable, "-m", "poolmgr", "mirror")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "POOLMGR_MIRROR__TABLE": "bots"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == EXIT_FAILED
    assert (
        "cannot mirror: No module named aiobotocore; install what it needs: pip install 'poolmgr[mirror]'"
        in ended.stderr
    )
    assert "Traceback" not in ended.stderr


@pytest.mark.long
async def test_a_role_that_may_not_is_waited_for(table: Dynamo, bots: Bots) -> None:
    await bots.accept("b1")
    table.answers = {action: [refused("AccessDeniedException")] for action in ("DescribeTable", "UpdateItem")}
    async with Running(bots, table):
        await table_equals_records(table, bots)


# Ends in the middle


@pytest.mark.parametrize("moment", [pytest.param("before", marks=pytest.mark.long), "after"])
async def test_a_mirror_that_is_killed_at_any_write_and_resumed_leaves_the_table_equal(
    moment: str, table: Dynamo, bots: Bots
) -> None:
    """Killed at its first write, the next one at its second, and so on, while bots go on."""
    for number in range(1, 5):
        await bots.accept(*(f"b{number}-{place}" for place in range(number)))
        running = Running(bots, table, at_once=1)
        calls = [0]

        def on_call(when: str, running: Running = running, calls: list[int] = calls, number: int = number) -> None:
            calls[0] += when == moment
            if calls[0] == number:
                running.kill()

        table.on_call = on_call
        async with running:
            with pytest.raises(asyncio.CancelledError):
                await running.ended()
    table.on_call = lambda _: None
    async with Running(bots, table):
        await table_equals_records(table, bots)


@pytest.mark.long
async def test_the_program_killed_in_a_fill_and_started_again_ends_with_an_equal_table(
    table: Dynamo, bots: Bots, fork_server: ForkServer, tmp_path: Path
) -> None:
    await bots.accept(*(f"b{number}" for number in range(150)))
    environment = {
        **os.environ,
        "POOLMGR_REDIS__URL": bots.url,
        "POOLMGR_REDIS__PREFIX": bots.keys.prefix,
        "POOLMGR_MIRROR__TABLE": table.table,
        "POOLMGR_MIRROR__ENDPOINT_URL": table.url,
        "POOLMGR_MIRROR__REGION": "eu-west-1",
    }
    with (tmp_path / "log").open("ab") as log:
        for writes in (40, 80, 0):
            begun = table.asked["UpdateItem"]
            process = fork_server.start(
                "poolmgr", "mirror", environment=environment, log=log, imports=("aiobotocore.session",)
            )
            if writes:
                await wait_until(lambda begun=begun, writes=writes: table.asked["UpdateItem"] >= begun + writes)
                process.kill()
                process.wait()
                process.close()
            else:
                await bots.end("b7")
                await table_equals_records(table, bots)
                process.send_signal(signal.SIGTERM)
                assert await process.ended() == 0
                process.close()
    assert table.asked["UpdateItem"] < 450, "it goes on where it was"


@pytest.mark.long
async def test_two_mirrors_at_once_write_what_one_writes(table: Dynamo, bots: Bots) -> None:
    async with Running(bots, table), Running(bots, table):
        await bots.whole("b1", "b2", "b3")
        await table_equals_records(table, bots)


# Gaps


@pytest.mark.long
async def test_what_the_stream_lost_while_no_mirror_ran_is_filled_in_from_the_records(
    table: Dynamo, redis: Any, bots: Bots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolmgr.mirror.following.MOST_AT_ONCE", 10)  # so that few records are several pages
    await bots.accept("b1", "b2")
    async with Running(bots, table):
        await table_equals_records(table, bots)
    await bots.end("b1", attempt=0)
    await bots.accept(*(f"c{number}" for number in range(25)))
    await redis.xtrim(bots.keys.status, maxlen=10, approximate=False)
    async with Running(bots, table):

        async def is_filled() -> bool:
            standing = await Mirrored(redis, bots.keys).standing()
            return bool(standing and not standing.filling and standing.filled >= 27 and "were gone" in standing.why)

        await wait_until(is_filled)
        await table_equals_records(table, bots)
