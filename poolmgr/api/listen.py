"""Serves aiohttp applications on configured addresses, within limits, and explains why an address cannot be served.

The limits: connections at a time; time for a TLS handshake and for a request's head; size of that head; idle time of a
connection. Errors that aiohttp finds itself, such as a bad request line, are answered as JSON, too.
"""

import asyncio
import ssl
from traceback import format_exception
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from aiohttp import web
from aiohttp.web_request import BaseRequest

from common.errors import ManagerError
from poolmgr.api.errors import HEADERS, Message

_log = structlog.stdlib.get_logger()

_MOST_HEADERS: Final = 64
_LINGER_S: Final = 1.0
"""How long the rest of a refused body is read and dropped, so that the sender can read the answer."""

_FULL = b'{"message":"Too many connections; try again in a moment, or raise api.connections."}'
_FULL_ANSWER: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s"
) % (len(_FULL), _FULL)


class CannotListenError(ManagerError):
    """An address cannot be served: it is taken, it is not this machine's, or its certificate cannot be used."""


class Limits(NamedTuple):
    """`request_s`: for a request's head, and between two requests. `answer_s`: for the client to read its answer."""

    connections: int = 1000
    request_s: float = 10.0
    answer_s: float = 60.0


def tls_context(cert: str, key: str) -> ssl.SSLContext | None:
    """The TLS context for these PEM files, TLS 1.2 or newer; None without files. Raises: CannotListenError."""
    if not cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An empty answer, so that OpenSSL does not ask for a password on the terminal.
        context.load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        why = error.strerror or "not a certificate and its key in PEM" if isinstance(error, OSError) else "not PEM"
        raise CannotListenError(
            f"cannot serve TLS with {cert} and {key} ({why}); change api.tls_cert and api.tls_key"
        ) from error
    return context


async def serve(
    app: web.Application, listen: str, setting: str, *, limits: Limits | None = None, tls: ssl.SSLContext | None = None
) -> web.AppRunner:
    """Serve `app` on `listen` ("host:port"; port 0 takes a free one) until the runner's cleanup.

    Raises: CannotListenError naming `setting`.
    """
    host, _, port = listen.rpartition(":")
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await _Site(runner, host.strip("[]") or None, int(port), limits or Limits(), tls).start()
    except (OSError, OverflowError) as error:
        await runner.cleanup()
        raise CannotListenError(f"cannot listen on {listen} ({error}); change {setting}") from error
    return runner


class _Site(web.BaseSite):
    def __init__(
        self, runner: web.AppRunner, host: str | None, port: int, limits: Limits, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(runner, ssl_context=tls)
        self._host = host
        self._port = port
        self._limits = limits

    @property
    def name(self) -> str:
        return f"{'https' if self._ssl_context else 'http'}://{self._host or '*'}:{self._port}"

    async def start(self) -> None:
        await super().start()
        self._server = await asyncio.get_running_loop().create_server(
            self._connection,
            self._host,
            self._port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=self._limits.request_s if self._ssl_context else None,
            backlog=self._backlog,
        )

    def _connection(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server
        if len(server.connections) >= self._limits.connections:
            return _TurnedAway()
        return _Connection(
            server,
            self._limits.answer_s,
            loop=asyncio.get_running_loop(),
            # Runs from the connection's beginning, and from each answer, until the head of the next request is
            # complete.
            keepalive_timeout=self._limits.request_s,
            lingering_time=_LINGER_S,
            max_headers=_MOST_HEADERS,
            auto_decompress=False,
        )


class _Connection(web.RequestHandler):
    """aiohttp's connection, with JSON answers for unreadable requests and unexpected faults, and with a deadline for a
    client that does not read its answer.
    """

    __slots__ = ("_answer_s",)

    def __init__(self, server: web.Server, answer_s: float, **options: Any) -> None:
        super().__init__(server, **options)
        self._answer_s = answer_s

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        try:
            async with asyncio.timeout(self._answer_s):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError as error:
            if self.transport:
                self.transport.abort()
            raise ConnectionError("the client does not take its answer") from error

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500 and exc:
            # Logged as text: a structured traceback would contain local variables, and so tokens and links.
            _log.error("request_failed", method=request.method[:20], traceback="".join(format_exception(exc)))
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        words = {500: "Something is wrong inside poolmgr; its log says what.", 504: "It took too long."}
        text = words.get(status, "The request is not HTTP that can be read: its first line or a header is malformed.")
        response = web.Response(
            status=status,
            body=msgspec.json.encode(Message(text)),
            content_type="application/json",
            headers=HEADERS,
        )
        response.force_close()
        return response


class _TurnedAway(asyncio.Protocol):
    """A connection above the limit: it gets an answer that says so, and is closed."""

    def connection_made(self, transport: Any) -> None:
        transport.write(_FULL_ANSWER)
        transport.close()
