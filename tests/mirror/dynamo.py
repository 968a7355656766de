"""DynamoDB for the tests: moto's server, and before it what moto lacks: refusals, lost answers, silence."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from aiohttp import ClientSession, TCPConnector, web

from lab.parts.ports import free_ports
from tests.moto_server import aws_client

KEY = ({"AttributeName": "bot_id", "KeyType": "HASH"},)
_TYPE = "application/x-amz-json-1.0"


class Dynamo:
    """One table. `answers`: given to the next calls of an action, in place of the true ones. `on_call`: called with
    "before" and "after" each write.
    """

    def __init__(self, moto: str, table: str) -> None:
        self._moto = moto
        self.table = table
        self.url = ""
        self.asked = Counter[str]()
        self.answers = dict[str, list[web.Response]]()
        self.hangs = False
        self.loses = 0  # how many answers to writes, which are done, are lost
        self.on_call: Callable[[str], None] = lambda _: None
        self._http: ClientSession
        self._client: Any = None  # one for all questions while it serves: to make one takes longer than to ask

    async def make(self, key: Any = KEY) -> None:
        async with self._asking() as client:
            await client.create_table(
                TableName=self.table,
                KeySchema=list(key),
                AttributeDefinitions=[{"AttributeName": one["AttributeName"], "AttributeType": "S"} for one in key],
                BillingMode="PAY_PER_REQUEST",
            )

    async def items(self) -> dict[str, dict[str, Any]]:
        """The items by their bot_id, with plain values."""
        async with self._asking() as client:
            answer = await client.scan(TableName=self.table, ConsistentRead=True)
        assert "LastEvaluatedKey" not in answer
        return {
            item["bot_id"]["S"]: {name: next(iter(value.values())) for name, value in item.items()}
            for item in answer["Items"]
        }

    def _asking(self) -> Any:
        return nullcontext(self._client) if self._client else aws_client("dynamodb", self._moto)

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        app = web.Application()
        app.router.add_post("/", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        (port,) = free_ports(1)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{port}"
        async with (
            aws_client("dynamodb", self._moto) as self._client,
            ClientSession(connector=TCPConnector(force_close=True)) as self._http,
        ):
            yield
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        action = request.headers["X-Amz-Target"].partition(".")[2]
        self.asked[action] += 1
        if self.hangs:
            await asyncio.sleep(60)
        if waiting := self.answers.get(action):
            return waiting.pop(0)
        writes = action in ("UpdateItem", "PutItem")
        if writes:
            self.on_call("before")
        names = ("Authorization", "Content-Type", "X-Amz-Date", "X-Amz-Target")
        headers = {name: request.headers[name] for name in names}
        async with self._http.post(self._moto, data=body, headers=headers) as response:
            answer = web.Response(status=response.status, body=await response.read(), headers={"Content-Type": _TYPE})
        if writes:
            self.on_call("after")
        if writes and self.loses:
            self.loses -= 1
            assert request.transport
            request.transport.close()
        return answer


def refused(code: str, message: str = "no", status: int = 400) -> web.Response:
    document = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}
    return web.json_response(document, status=status, content_type=_TYPE)


def throttled() -> web.Response:
    return refused("ProvisionedThroughputExceededException", "The level of configured throughput was exceeded")
