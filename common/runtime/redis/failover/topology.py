"""Finds the server that takes writes, by asking the sentinels of a service or the nodes of a cluster.

All of them are asked at once. As soon as more than half have answered, the answer with the highest configuration epoch
counts: a failover raises the epoch, and a node that was cut off may still name the old primary.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

import structlog
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError, RedisError

from common.config.redis_url import Node

ANSWER_S: Final = 1.0
"""How long each may take to answer. It is half of the shortest deadline of a caller: the HTTP API's client waits 2 s.
"""

_FRESH_S: Final = 0.05
"""An answer counts this long. When many connections are lost at once, one look serves all of them."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Claim(NamedTuple):
    """The primary that one of them names. `is_down`: it cannot reach that primary."""

    epoch: int
    primary: Node
    is_down: bool = False


class Answer(NamedTuple):
    """The answer of one of them. `claim` None: it knows no primary. `others`: nodes that can be asked, too."""

    claim: Claim | None
    others: Sequence[Node] = ()


class Question(Protocol):
    """Asks one of them. Raises: RedisError, OSError."""

    async def __call__(self, client_of_node: Redis, asked: Node, /) -> Answer: ...


class MakeClient(Protocol):
    """Makes a client for that address. The client does not connect yet."""

    def __call__(self, node: Node, /) -> Redis: ...


class Topology:
    """`kind`: sentinel or node, for messages. redis-py's SentinelConnectionPool calls `discover_master`."""

    def __init__(self, kind: str, nodes: Sequence[Node], question: Question, make_client: MakeClient) -> None:
        self._kind = kind
        self._named = tuple(nodes)
        self._question = question
        self._make_client = make_client
        self._clients: dict[Node, Redis] = {}
        self._looking: asyncio.Task[Node] | None = None
        self._found_at = float("-inf")

    async def discover_master(self, _service: str = "") -> Node:
        """The primary's address. Raises: ConnectionError if none of them answers, or knows a primary that is up."""
        fresh = time.monotonic() - self._found_at < _FRESH_S
        if self._looking is None or (self._looking.done() and not fresh):
            # Not in a task group: the next callers wait for it, too, so the end of the first one must not end it.
            self._looking = asyncio.get_running_loop().create_task(self._look(), name="find the primary")
            self._looking.add_done_callback(_take_error)
        return await asyncio.shield(self._looking)

    async def answers(self) -> Mapping[Node, Answer | str]:
        """For each of them its answer, or why there is none."""
        nodes = self._nodes()
        asked = await asyncio.gather(*(self._ask(node) for node in nodes))
        return dict(zip(nodes, asked, strict=True))

    async def aclose(self) -> None:
        if self._looking:
            self._looking.cancel()
            await asyncio.wait({self._looking})
        for client in self._clients.values():
            with suppress(RedisError, OSError):
                await client.aclose()
        self._clients.clear()

    def _nodes(self) -> list[Node]:
        return list(dict.fromkeys((*self._named, *self._clients)))

    async def _look(self) -> Node:
        nodes = self._nodes()
        answers: list[Answer] = []
        silent: list[str] = []
        async with asyncio.TaskGroup() as group:
            waiting = {group.create_task(self._ask(node), name=f"ask {node.host}:{node.port}") for node in nodes}
            while waiting and len(answers) <= len(nodes) // 2:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for answer in (task.result() for task in done):
                    (silent if isinstance(answer, str) else answers).append(answer)  # pyright: ignore[reportArgumentType]
            for task in waiting:
                task.cancel()
        self._take_note([other for answer in answers for other in answer.others])
        self._found_at = time.monotonic()
        return self._judge([answer.claim for answer in answers if answer.claim], len(nodes), silent)

    def _judge(self, claims: Sequence[Claim], asked: int, silent: Sequence[str]) -> Node:
        if not claims:
            why = f": {silent[0]}" if silent else ""
            raise ConnectionError(f"none of {asked} {self._kind}s knows a primary{why}")
        newest = max(claim.epoch for claim in claims)
        say = [claim for claim in claims if claim.epoch == newest]
        if sum(claim.is_down for claim in say) * 2 > len(say):
            host, port = say[0].primary
            raise ConnectionError(f"the {self._kind}s say that the primary {host}:{port} is down")
        return say[0].primary

    def _take_note(self, others: Sequence[Node]) -> None:
        """Ask these nodes, too, from now on: a cluster names its nodes, so the URL does not have to name all."""
        for node in others:
            self._client(node)

    def _client(self, node: Node) -> Redis:
        if node not in self._clients:
            self._clients[node] = self._make_client(node)
        return self._clients[node]

    async def _ask(self, node: Node) -> Answer | str:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._question(self._client(node), node)
        except TimeoutError:
            return f"{node.host}:{node.port} does not answer"
        except (RedisError, OSError) as error:
            return f"{node.host}:{node.port}: {str(error)[:200]}"


def _take_error(looking: asyncio.Task[Node]) -> None:
    if not looking.cancelled():
        looking.exception()  # the callers get it; without this line asyncio would log it when all have given up


class AskSentinel:
    """Asks a sentinel for the primary of a service."""

    def __init__(self, service: str) -> None:
        self._service = service

    async def __call__(self, client_of_node: Redis, asked: Node, /) -> Answer:
        client: Any = client_of_node  # its answers are typed as unions of every shape
        state: dict[str, Any] | None = (await client.sentinel_masters()).get(self._service)
        if state is None:
            raise ConnectionError(f"it knows no service {self._service!r}")
        is_down = bool(state["is_sdown"] or state["is_odown"])
        return Answer(Claim(state["config-epoch"], Node(state["ip"], state["port"]), is_down))


class AskNode:
    """Asks a node of a cluster for the primary of the slot in which all keys of a prefix are."""

    def __init__(self, prefix: str) -> None:
        self._slot = key_slot(prefix.encode())

    async def __call__(self, client_of_node: Redis, asked: Node, /) -> Answer:
        client: Any = client_of_node
        nodes: dict[str, dict[str, Any]] = await client.cluster("NODES")
        found: Claim | None = None
        others: list[Node] = []
        for address, state in nodes.items():
            node = _node(address, state, asked)
            flags = state["flags"].split(",")
            if "noaddr" in flags or "handshake" in flags:
                continue
            others.append(node)
            if "master" in flags and self._is_among(state["slots"]):
                is_down = "fail" in flags or "fail?" in flags
                found = Claim(int(state["epoch"]), node, is_down)
        return Answer(found, others)

    def _is_among(self, ranges: Sequence[Sequence[str]]) -> bool:
        return any(int(slots[0]) <= self._slot <= int(slots[-1]) for slots in ranges)


def _node(address: str, state: Mapping[str, Any], asked: Node) -> Node:
    """The node's address. A host name is preferred, because TLS checks it. A node that does not know its own address is
    at the address that was asked.
    """
    host, _, port = address.rpartition(":")
    return Node(str(state["hostname"] or host or asked.host), int(port))
