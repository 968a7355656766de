"""One attempt, against servers of every temper: what comes back is a word, and nothing is sent where it must not be."""

import asyncio
import ipaddress
import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from common.jobs.outgoing import OutgoingRules
from common.webhooks.outcome import Outcome
from common.webhooks.sender import Sender

HOME = OutgoingRules(allow_http=True, networks=(ipaddress.ip_network("127.0.0.0/8"),))
Serve = Callable[..., Awaitable["Server"]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Server:
    """Answers every request with the same bytes, whatever they are."""

    def __init__(self, answer: bytes, *, hangs: bool, drips: bool) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0
        self._answer = answer
        self._hangs = hangs
        self._drips = drips

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self.requests.append(head + await reader.readexactly(length))
            for part in [self._answer[i : i + 1] for i in range(len(self._answer))] if self._drips else [self._answer]:
                writer.write(part)
                await writer.drain()
                if self._drips:
                    await asyncio.sleep(0.05)
            if self._hangs:
                await reader.read()
        writer.close()


@pytest.fixture
async def serve() -> AsyncGenerator[Serve]:
    started: list[tuple[Server, asyncio.Server]] = []

    async def start(answer: bytes = OK, *, hangs: bool = False, drips: bool = False, tls: Any = None) -> Server:
        server = Server(answer, hangs=hangs, drips=drips)
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
        server.port = listener.sockets[0].getsockname()[1]
        started.append((server, listener))
        return server

    yield start
    for server, listener in started:
        listener.close()
        for writer in server.writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


async def send(url: str, *, rules: OutgoingRules = HOME, timeout_s: float = 5.0) -> Outcome:
    async with Sender(rules, timeout_s, "poolmgr/test") as sender:
        return await sender.send(url, b'{"a":1}', {"webhook-id": "evt_1"})


async def test_it_posts_the_bytes_with_its_headers_and_takes_the_status(serve: Serve) -> None:
    server = await serve(b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=b\r\n\r\n")
    outcome = await send(f"http://127.0.0.1:{server.port}/a%2Fb?x=%41&y=a+b")
    assert (outcome.status, outcome.delivered, outcome.word, outcome.kind) == (204, True, "204", "2xx")
    (request,) = server.requests
    assert request.startswith(b"POST /a%2Fb?x=%41&y=a+b HTTP/1.1\r\n"), "as it was written"
    assert request.endswith(b'\r\n\r\n{"a":1}')
    for header in (b"webhook-id: evt_1", b"Content-Type: application/json", b"User-Agent: poolmgr/test"):
        assert header in request


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
async def test_a_refusal_is_an_outcome(status: int, serve: Serve) -> None:
    server = await serve(b"HTTP/1.1 %d No\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n" % status)
    outcome = await send(f"http://127.0.0.1:{server.port}/")
    assert (outcome.status, outcome.delivered, outcome.retry_after_s) == (status, False, 17)


@pytest.mark.parametrize("text", ["Wed, 21 Oct 2099 07:28:00 GMT", "-1", "1e9", "²", ""])
async def test_a_retry_after_that_is_no_number_of_seconds_asks_for_nothing(text: str, serve: Serve) -> None:
    server = await serve(b"HTTP/1.1 503 No\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n" % text.encode())
    assert (await send(f"http://127.0.0.1:{server.port}/")).retry_after_s == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int, serve: Serve) -> None:
    other = await serve()
    where = f"http://127.0.0.1:{other.port}/latest/meta-data".encode()
    server = await serve(b"HTTP/1.1 %d Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, where))
    outcome = await send(f"http://127.0.0.1:{server.port}/")
    assert (outcome.word, outcome.delivered, other.connections) == ("redirected", False, 0)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"", "unanswered"),
        (b"nonsense\r\n\r\n", "bad_answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "bad_answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "bad_answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", "bad_answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5", "unanswered"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure(answer: bytes, word: str, serve: Serve) -> None:
    server = await serve(answer)
    assert (await send(f"http://127.0.0.1:{server.port}/")).word == word


async def test_an_endless_answer_is_not_read(serve: Serve) -> None:
    server = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 5_000_000, hangs=True)
    outcome = await send(f"http://127.0.0.1:{server.port}/")
    assert outcome.delivered


@pytest.mark.parametrize(
    ("answer", "drips"), [(b"", False), (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, True), (OK, True)]
)
async def test_silence_and_slowness_end_at_the_deadline(answer: bytes, drips: bool, serve: Serve) -> None:
    server = await serve(answer, hangs=True, drips=drips)
    outcome = await send(f"http://127.0.0.1:{server.port}/", timeout_s=0.3)
    assert (outcome.word, outcome.status) == ("timeout", 0)


async def test_nobody_there_is_a_failure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        outcome = await send(f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert (outcome.word, outcome.kind) == ("connection_failed", "connection_failed")


async def test_a_certificate_is_refused_unless_somebody_known_vouches_for_it(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    command = ("openssl", "req", "-x509", *curve, "-keyout", key, "-out", certificate, *names)
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server = await serve(tls=tls)
    assert (await send(f"https://127.0.0.1:{server.port}/")).word == "tls_failed"
    assert server.requests == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert (await send(f"https://127.0.0.1:{server.port}/")).delivered


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "[::1]", "localhost"]
)
async def test_a_local_address_is_not_called_in_whatever_way_it_is_written(host: str, serve: Serve) -> None:
    server = await serve()
    strict = OutgoingRules(allow_http=True)
    assert (await send(f"http://{host}:{server.port}/", rules=strict)).word == "address_not_allowed"
    assert server.connections == 0


class Names:
    """A DNS whose answers the test writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[list[str]] = []
        self.asked = 0
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, host: str, port: int, family: int = 0, kind: int = 0, *_: Any) -> list[Any]:
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not found:
            raise socket.gaierror(-2, "Name or service not known")
        return [
            (socket.AF_INET6, kind, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, kind, 6, "", (address, port))
            for address in found
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.mark.parametrize(
    "addresses",
    [["169.254.169.254"], ["127.0.0.1", "10.0.0.1"], ["93.184.216.34", "::1"], ["::ffff:10.0.0.1"], ["fe80::1%eth0"]],
)
async def test_a_name_is_refused_if_any_of_its_addresses_may_not_be_called(
    addresses: list[str], names: Names, serve: Serve
) -> None:
    server = await serve()
    names.answers = [addresses]
    assert (await send(f"http://hooks.example:{server.port}/")).word == "address_not_allowed"
    assert server.connections == 0


async def test_what_was_checked_is_what_is_called_though_the_name_means_something_else_by_then(
    names: Names, serve: Serve
) -> None:
    server = await serve()
    names.answers = [["127.0.0.1"], ["10.0.0.1"]]
    async with Sender(HOME, 5.0, "poolmgr/test") as sender:
        assert (await sender.send(f"http://hooks.example:{server.port}/", b"", {})).delivered
        assert names.asked == 1, "once per attempt"
        second = await sender.send(f"http://hooks.example:{server.port}/", b"", {})
    assert (second.word, names.asked, server.connections) == ("address_not_allowed", 2, 1)
    assert server.requests[0].lower().count(b"host: hooks.example") == 1


async def test_a_name_that_is_none_is_a_failure(names: Names) -> None:
    names.answers = [[]]
    assert (await send("http://hooks.example/")).word == "connection_failed"


async def test_a_proxy_in_the_environment_is_not_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, server = await serve(), await serve()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    assert (await send(f"http://127.0.0.1:{server.port}/")).delivered
    assert (proxy.connections, server.connections) == (0, 1)


async def test_a_url_that_became_forbidden_since_is_not_called(serve: Serve) -> None:
    server = await serve()
    stricter = OutgoingRules(networks=HOME.networks)
    assert (await send(f"http://127.0.0.1:{server.port}/", rules=stricter)).word == "address_not_allowed"
    assert server.connections == 0
