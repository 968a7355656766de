"""A failover under managers and agents, short: the rest is `python -m lab.failover`."""

import pytest

from lab.failover.trial import Plan, run
from tests.fork_server import ForkServer

pytestmark = pytest.mark.timeout(300)


@pytest.mark.long
async def test_the_primary_dies_in_mid_call_and_mid_burst_and_nothing_is_lost_or_doubled(
    fork_server: ForkServer,
) -> None:
    said: list[str] = []
    outcome = await run(
        Plan("sentinel", "kill", wait_replicas=1, jobs=20, calls=3, silent_s=3.0),
        said.append,
        lambda environment, log: fork_server.start("poolmgr", "serve", environment=environment, log=log),
    )
    assert (outcome.lost, outcome.doubles, outcome.wrong) == ([], [], []), said
    assert outcome.pushed >= 24
    assert 0 < outcome.promoted_s <= outcome.led_s <= outcome.served_s
