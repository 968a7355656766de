"""Redis fails over while a real browser is in a real call."""

from contextlib import suppress
from pathlib import Path

import pytest

from common.runtime.redis.client import UNAVAILABLE
from lab.parts.host import hosting
from lab.parts.redis_fleet import WatchedRedis
from poolmgr.core.events import LeaveRequested
from tests.e2e.conftest import HOST_KEY, Fleet
from tests.fork_server import ForkServer
from tests.redis_users import Users
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.mark.long
async def test_the_call_goes_on_while_another_redis_takes_over_and_its_end_is_told(
    fork_server: ForkServer, prefix: str, tmp_path: Path, room: str
) -> None:
    with WatchedRedis(tmp_path, replicas=2, down_after_s=PATIENCE_S) as watched:
        users = Users(watched.url, prefix)
        for server in watched.redises:  # users are not replicated
            for command in users.commands:
                server.say(*command)
        fleet = Fleet(fork_server, watched.url, users, prefix, tmp_path, room)
        try:
            fleet.start_manager(min_idle="1", max_workers="2")
            fleet.start_agent("vm-a")
            await fleet.until_workers({"vm-a": {"idle": 1}})
            async with hosting(f"{fleet.room}/r/test", HOST_KEY) as host:
                await host.say("auto_admit", on=True)
                await fleet.push("calls")
                await fleet.until_state(["calls"], "in_meeting")
                before, epoch = watched.primary(), await fleet.redis.get(fleet.keys.epoch)
                watched.set_down_after(0.5)
                before.kill()
                await wait_until(lambda: watched.primary() is not before, PATIENCE_S)
                watched.set_down_after(PATIENCE_S)  # a busy machine may hold up the new one for longer
                after = watched.primary()
                await wait_until(lambda: after.say("GET", fleet.keys.epoch) != epoch, PATIENCE_S)

                async def pushed() -> bool:  # connections of before the failover are noticed when they are used
                    with suppress(*UNAVAILABLE):
                        await fleet.push("later")
                        return True
                    return False

                await wait_until(pushed)
                await fleet.until_state(["later"], "in_meeting")
                assert sorted(host.arrivals) == ["Bot calls", "Bot later", "Host"], "nobody left or came twice"
                assert len(host.names) == 3
                await fleet.views.request(LeaveRequested("calls"))
                await fleet.until_state(["calls"], "stopped")
                await host.say("end_for_all")
                await fleet.until_state(["later"], "stopped")
            records = [await fleet.record(bot_id) for bot_id in ("calls", "later")]
            assert [(record["attempt"], record["status_reason"]) for record in records] == [
                ("1", "user_requested"),
                ("1", "meeting_ended"),
            ]
        finally:
            await fleet.close()
