"""Every request passes here: authentication, rate limit, checks, the operation, the answer, log and metrics.

All answers are JSON with our headers, errors too. Bodies, tokens and links are never logged.
"""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web
from redis.exceptions import RedisError

from common.config.settings import ApiSettings, TokenSettings
from common.jobs.job import BOT_ID, MAX_JOB_BYTES, fault_of, typed_json
from common.runtime.redis.client import UNAVAILABLE
from common.wire.text import NOT_TEXT, is_text
from poolmgr.api import links
from poolmgr.api.errors import HEADERS, ApiError, answer_of, bad_request, bot_not_found, from_aiohttp, later
from poolmgr.api.observe import ApiMetrics
from poolmgr.api.operation import JSON, MOST_TOKENS, Answer, Call, File, Operation, Service
from poolmgr.api.rate import Rate, Rates
from poolmgr.api.tokens import Tokens

_log = structlog.stdlib.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LONGEST_NAME: Final = 1024
_ACTED_ON: Final = ("bot_id", "vm_id")
"""The names in an address that are logged: they say what a request acts on."""
_MEMBER: Final = re.compile(r"(\w+)\[(.*)\]", re.DOTALL)

_FAILURES: Final = Rate(per_s=1.0, burst=20)
"""How often an address may send no token, or a wrong one, before it has to wait."""
_ADDRESSES: Final = 10_000

_MOST_HELD: Final = 64 << 20
"""Bytes of all request bodies in memory at a time."""

_TOKEN = web.RequestKey("token", str)
_ID = web.RequestKey("id", str)
_ACTS = web.RequestKey("acts", bool)
_HEAD_AT = web.RequestKey("head_at", float)


class Gateway:
    """The way of every request to its operation. `metrics`: counts the answers."""

    def __init__(self, service: Service, settings: ApiSettings, metrics: ApiMetrics) -> None:
        self._service = service
        self._settings = settings
        self._metrics = metrics
        self.take(settings.tokens)
        self._calls = Rates(MOST_TOKENS)
        self._failures = Rates(_ADDRESSES)
        self._held = 0

    def take(self, tokens: Sequence[TokenSettings]) -> None:
        """Accept these tokens from now on, and no others."""
        self._tokens = Tokens(tokens)
        self._rates = {token.name: _rate(token) for token in tokens}

    def handler(self, operation: Operation) -> Handler:
        """The aiohttp handler of an operation: checks token, rate, path, query and body, then calls it."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                token = await self._let_in(request, operation)
                path = _path(request.match_info)
                query = _query(request, operation)
                with self._holding(request, operation):
                    body = await self._body(request, operation) if operation.body else None
                    call = Call(self._service, token, path, query, body, request.headers)
                    answer = await self._service.turns.costing(token.name, operation.handle(call))
            except UNAVAILABLE as error:
                _log.warning("api_redis_unavailable", error=type(error).__name__, route=operation.path)
                raise later(
                    503,
                    "Redis is away, and it is not known what was done; try again, with an Idempotency-Key to be safe.",
                    2.0,
                ) from error
            except RedisError as error:
                _log.warning("api_redis_refused", error=str(error)[:80], route=operation.path)
                raise later(503, "Redis will not do it (it may be full). Try again later.", 5.0) from error
            return _response(answer)

        return handle

    def streaming(
        self, operation: Operation, begin: Callable[[web.Request, TokenSettings], Awaitable[Handler]]
    ) -> Handler:
        """A handler for an answer that goes on for as long as its reader stays. `begin` raises, or returns what answers
        from then on. Log and metrics count such a request at its beginning.
        """

        async def handle(request: web.Request) -> web.StreamResponse:
            token = await self._let_in(request, operation)
            answer = await begin(request, token)
            request[_HEAD_AT] = self._service.steady()
            return await answer(request)

        return handle

    async def _let_in(self, request: web.Request, operation: Operation) -> TokenSettings:
        now = self._service.steady()
        try:
            token = await self._caller(request, operation)
        except ApiError:
            # A valid token is accepted also from a blocked address: behind a proxy all callers have the same address.
            if wait_s := self._failures.wait_s(_address(request), _FAILURES, now):
                raise later(429, "Too many requests without a known token from this address.", wait_s) from None
            raise
        request[_TOKEN] = token.name
        by = token.name if "Authorization" in request.headers else f"links of {token.name}"
        if wait_s := self._calls.wait_s(by, self._rates[token.name], now):
            message = f"Your token may make {token.requests_per_s:g} requests a second."
            raise later(429, message, wait_s)
        self._service.turns.let_in(token.name)
        if operation.changes:
            request[_ACTS] = True
            if token.role == "read":
                raise ApiError(403, 'Your token may only read: its role is "read".')
        return token

    async def _caller(self, request: web.Request, operation: Operation) -> TokenSettings:
        """Raises: ApiError 401, 403, and redis-py's errors for a link."""
        header = request.headers.get("Authorization")
        if header is None and operation.linked and links.SIGNATURE in request.query:
            secret, now = await self._service.link_secret.get(), self._service.wall()
            return links.signer(secret, self._tokens.all, request.path, [*request.query.items()], now)
        return self._tokens.caller(header)

    @contextmanager
    def _holding(self, request: web.Request, operation: Operation) -> Generator[None]:
        """Reserve memory for a body. Raises: ApiError 503 when there is no room for it."""
        length = request.content_length
        size = min(MAX_JOB_BYTES if length is None else length, MAX_JOB_BYTES) if operation.body else 0
        if self._held + size > _MOST_HELD:
            raise later(503, "Too many large requests at a time; try again in a moment.", 1.0)
        self._held += size
        try:
            yield
        finally:
            self._held -= size

    async def _body(self, request: web.Request, operation: Operation) -> Any:
        """The body as the operation's struct, or its bytes. Raises: ApiError 400, 408, 413, 415."""
        assert operation.body
        if request.content_type != "application/json" or "Content-Encoding" in request.headers:
            raise ApiError(415, "Send the body as JSON, not compressed, with Content-Type: application/json.")
        too_large = ApiError(413, f"The body is too large; at most {MAX_JOB_BYTES} bytes are taken.")
        if (request.content_length or 0) > MAX_JOB_BYTES:
            raise too_large
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # otherwise aiohttp takes the answer as begun
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                body = bytearray()
                while chunk := await request.content.readany():
                    body += chunk
                    if len(body) > MAX_JOB_BYTES:
                        raise too_large
        except TimeoutError as error:
            limit_s = self._settings.request_timeout_s
            raise ApiError(408, f"The body did not come within {limit_s:g} s.", {"Connection": "close"}) from error
        except (web.PayloadAccessError, web.RequestPayloadError, ConnectionError) as error:
            raise bad_request("The body is not sent as its headers say.") from error
        if operation.reads_json:
            return bytes(body)
        try:
            return typed_json(bytes(body), operation.body)
        except msgspec.ValidationError as error:
            raise bad_request(fault_of(error)) from error
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise bad_request("The body is not JSON that can be read.") from error

    @web.middleware
    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The middleware around every request, also around those to unknown addresses."""
        began = self._service.steady()
        given = request.headers.get("X-Request-Id", "")
        request[_ID] = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        status = 500
        try:
            try:
                response = await handler(request)
            except ApiError as error:
                response = answer_of(error)
            except web.HTTPException as error:
                response = answer_of(from_aiohttp(error))
            status = response.status
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            response.headers["X-Request-Id"] = request[_ID]
            return response
        finally:
            if _HEAD_AT in request:
                status = 200  # a stream ends when its reader goes or the manager stops
            self._observe(request, status, request.get(_HEAD_AT, self._service.steady()) - began)

    def _observe(self, request: web.Request, status: int, took_s: float) -> None:
        resource = request.match_info.route.resource
        route = resource.canonical if resource else ""
        self._metrics.answered(route, request.method, status, took_s)
        token = request.get(_TOKEN, "")
        facts: dict[str, Any] = {
            "method": request.method[:20],
            "route": route,
            "status": status,
            "took_s": round(took_s, 4),
            "token": token,
            "request_id": request[_ID],
        }
        acts = request.get(_ACTS, False)
        if acts and status < 400:
            facts |= {name: request.match_info[name] for name in _ACTED_ON if name in request.match_info}
        if not token or (not acts and status < 400):
            _log.debug("request_answered", **facts)
        else:
            _log.info("request_answered", **facts)


def _rate(token: TokenSettings) -> Rate:
    return Rate(token.requests_per_s, max(1.0, 2 * token.requests_per_s))


def _response(answer: Answer) -> web.StreamResponse:
    if isinstance(answer.body, File):
        media_type, name, data = answer.body
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}  # of a bot_id: no quotes in it
        if isinstance(data, Path):
            return web.FileResponse(data, headers={**headers, "Content-Type": media_type})
        return web.Response(status=answer.status, body=data, content_type=media_type, headers=headers)
    return web.Response(status=answer.status, body=msgspec.json.encode(answer.body), content_type=JSON)


def _address(request: web.Request) -> str:
    """The client's address. For IPv6 it is the network, because one client has many addresses."""
    address = request.remote or ""
    return ":".join(address.split(":")[:4]) if ":" in address else address


def _path(match: Mapping[str, str]) -> Mapping[str, str]:
    """The names in the path. Raises: ApiError 404 for a name that nothing can have."""
    for name, value in match.items():
        if name == "bot_id" and not BOT_ID.fullmatch(value):
            raise bot_not_found()
        if len(value) > _LONGEST_NAME or not is_text(value):
            raise ApiError(404, f"There is no such {name}.")
    return match


def _query(request: web.Request, operation: Operation) -> Any:
    """The operation's query; unknown parameters are ignored. Raises: ApiError 400."""
    if operation.query is None:
        return None
    fields = {field.encode_name: field for field in msgspec.structs.fields(operation.query)}
    values: dict[str, Any] = {}
    for name, value in request.query.items():
        if not (is_text(name) and is_text(value)):
            raise bad_request(f"The query {NOT_TEXT}.")
        match = _MEMBER.fullmatch(name)
        if match and match[1] in fields and fields[match[1]].default_factory is dict:
            values.setdefault(match[1], {})[match[2]] = value
        elif name in fields:
            if name in values:
                raise bad_request(f"{name}: is given twice")
            if fields[name].default_factory is dict:
                raise bad_request(f"{name}: is written as {name}[KEY]=VALUE")
            values[name] = value
    try:
        return msgspec.convert(values, operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise bad_request(fault_of(error)) from error
