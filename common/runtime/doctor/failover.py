"""Checks whether another Redis would take over if the primary failed, and what would be lost then. It looks at the
sentinels or nodes, at the number of replicas, and at what the primary does without them.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from common.config.redis_url import Finds, Node, finds
from common.config.settings import RedisSettings
from common.runtime.doctor.checks import Found, error, ok, warning
from common.runtime.redis.client import topology
from common.runtime.redis.failover.topology import Answer

_SEE: Final = "docs/operations.md, Redis that fails over"
_FEWEST_SENTINELS: Final = 3


class Standing(NamedTuple):
    """`replicas`: how many are connected to the primary. `needs`: how many it needs before it takes a write; None: it
    does not say. `waits_for`: redis.wait_replicas.
    """

    replicas: int
    needs: int | None
    waits_for: int


async def standing(redis: Redis, settings: RedisSettings) -> Standing:
    client: Any = redis
    replicas = int((await client.info("replication")).get("connected_slaves", 0))
    try:
        needs = int((await client.config_get("min-replicas-to-write"))["min-replicas-to-write"])
    except (ResponseError, KeyError):  # a hosted Redis may refuse CONFIG
        needs = None
    return Standing(replicas, needs, settings.wait_replicas)


async def look(redis: Redis, settings: RedisSettings) -> Found:
    now = await standing(redis, settings)
    finder = topology(settings)
    if finder is None:
        return of_one(now)
    try:
        said = await finder.answers()
    finally:
        await finder.aclose()
    return of_many(now, said, "node" if finds(settings.url) is Finds.IN_A_CLUSTER else "sentinel")


def of_one(now: Standing) -> Found:
    facts = f"redis.url names one server; {_replicas(now)}"
    return _of_waiting(now, facts) or ok(facts)


def of_many(now: Standing, said: Mapping[Node, Answer | str], kind: str) -> Found:
    """`said`: for each sentinel or node its answer, or why there is none. `kind`: which of the two they are."""
    claims = [answer.claim for answer in said.values() if isinstance(answer, Answer) and answer.claim]
    silent = [answer for answer in said.values() if isinstance(answer, str)]
    names = sorted({f"{claim.primary.host}:{claim.primary.port}" for claim in claims})
    facts = f"primary {' or '.join(names) or 'unknown'}, by {len(claims)} of {len(said)} {kind}s; {_replicas(now)}"
    if silent:
        facts += f"; {silent[0]}"
    if len(claims) * 2 <= len(said):
        return error(facts, f"most {kind}s have to be there, or nobody takes over")
    if found := _of_waiting(now, facts):
        return found
    if len(names) > 1 or silent:
        return warning(facts, f"see that all {kind}s run and reach one another")
    if kind == "sentinel" and len(said) < _FEWEST_SENTINELS:
        return warning(facts, f"at least three sentinels, on machines of their own: {_SEE}")
    if not now.replicas:
        return warning(facts, f"a replica of the primary: without one nobody can take over. {_SEE}")
    if not now.waits_for and now.needs == 0:
        return warning(facts, f"min-replicas-to-write 1, or redis.wait_replicas: what a failover undoes. {_SEE}")
    return ok(facts)


def _of_waiting(now: Standing, facts: str) -> Found | None:
    """An error if there are too few replicas for writes to be taken or confirmed."""
    most = max(now.needs or 0, now.waits_for)
    if now.replicas >= most:
        return None
    what = "redis.wait_replicas" if now.waits_for == most else "min-replicas-to-write"
    return error(facts, f"{what} asks for {most}: until they are connected, every write counts as an outage")


def _replicas(now: Standing) -> str:
    needs = "unknown" if now.needs is None else now.needs
    return f"replicas {now.replicas}, min-replicas-to-write {needs}, redis.wait_replicas {now.waits_for}"
