"""Names, TLS and UDP against servers on this machine."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from common.runtime.doctor.checks import Severity, carry_out
from common.runtime.doctor.network import mapped_address, reaches, stun
from lab.platforms.certificate import make_certificate

COOKIE = 0x2112A442
TRANSACTION = bytes(range(12))
# RFC 5769, 2.2 and 2.3: the sample responses, of 192.0.2.1 and of 2001:db8:1234:5678:11:2233:4455:6677, port 32853.
RFC_TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
RFC_IPV4 = bytes.fromhex("0101000c2112a442") + RFC_TRANSACTION + bytes.fromhex("002000080001a147e112a643")
RFC_IPV6 = (
    bytes.fromhex("010100182112a442")
    + RFC_TRANSACTION
    + bytes.fromhex("002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9")
)


class Responder(asyncio.DatagramProtocol):
    """A STUN server. `silent`: how many requests it lets pass unheard."""

    def __init__(self, silent: int) -> None:
        self.silent = silent
        self.requests: list[bytes] = []
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.requests.append(data)
        if len(self.requests) <= self.silent or self._transport is None:
            return
        kind, length, cookie, transaction = struct.unpack(">HHI12s", data)
        assert (kind, length, cookie) == (1, 0, COOKIE)
        host = bytes(int(part) for part in addr[0].split("."))
        masked = bytes(a ^ b for a, b in zip(host, struct.pack(">I", COOKIE), strict=True))
        value = struct.pack(">xBH", 1, addr[1] ^ (COOKIE >> 16)) + masked
        attribute = struct.pack(">HH", 0x0020, len(value)) + value
        self._transport.sendto(b"nonsense", addr)  # what is no answer is passed over
        self._transport.sendto(struct.pack(">HHI12s", 0x0101, len(attribute), COOKIE, bytes(12)) + attribute, addr)
        self._transport.sendto(struct.pack(">HHI12s", 0x0101, len(attribute), COOKIE, transaction) + attribute, addr)


@asynccontextmanager
async def responder(silent: int = 0) -> AsyncGenerator[tuple[str, Responder]]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: Responder(silent), local_addr=("127.0.0.1", 0))
    try:
        yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}", protocol
    finally:
        transport.close()


async def test_a_stun_server_that_answers_says_how_it_sees_us() -> None:
    async with responder() as (server, _):
        [found] = await carry_out([stun(server)])
    assert found.severity is Severity.OK
    assert "it sees this machine as 127.0.0.1:" in found.what


async def test_a_request_that_is_lost_is_sent_once_more() -> None:
    async with responder(silent=1) as (server, heard):
        [found] = await carry_out([stun(server)])
    assert found.severity is Severity.OK
    assert len(heard.requests) == 2


async def test_one_that_never_answers_is_an_error_that_says_what_to_open() -> None:
    async with responder(silent=1000) as (server, heard):
        [found] = await carry_out([stun(server)._replace(deadline_s=0.3)])
    assert (found.severity, found.what) == (Severity.ERROR, "no answer within 0.3 s")
    assert "let UDP out" in found.todo
    assert heard.requests


async def test_without_a_server_nobody_is_asked() -> None:
    [found] = await carry_out([stun("")])
    assert found.severity is Severity.SKIPPED


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (RFC_IPV4, "192.0.2.1:32853"),
        (RFC_IPV6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        (RFC_IPV4[:19], ""),
        (b"\x01\x11" + RFC_IPV4[2:], ""),  # an error response
        (RFC_IPV4[:8] + TRANSACTION + RFC_IPV4[20:], ""),  # to somebody else's request
        (RFC_IPV4[:20] + b"\x00\x20\x00\xff", ""),
    ],
)
def test_the_address_is_read_as_the_rfc_has_it(answer: bytes, seen: str) -> None:
    assert mapped_address(answer, RFC_TRANSACTION) == seen


def test_a_server_of_the_old_kind_masks_nothing() -> None:
    value = struct.pack(">xBH", 1, 4711) + bytes((192, 0, 2, 1))
    attribute = struct.pack(">HH", 0x0001, 8) + value
    answer = struct.pack(">HHI12s", 0x0101, 12, COOKIE, TRANSACTION) + attribute
    assert mapped_address(answer, TRANSACTION) == "192.0.2.1:4711"


@asynccontextmanager
async def tls_server() -> AsyncGenerator[int]:
    """Of localhost; its port."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=make_certificate(["localhost"]).context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def trusting(port: int) -> ssl.SSLContext:
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    return ssl.create_default_context(cadata=pem)


async def test_a_host_with_a_right_certificate_is_reached() -> None:
    async with tls_server() as port:
        [found] = await carry_out([reaches("teams", "localhost", port, tls=await trusting(port))])
    assert found.severity is Severity.OK, found
    assert found.what.startswith("localhost: name in ")


async def test_a_certificate_of_somebody_else_is_named_as_such() -> None:
    async with tls_server() as port:
        [found] = await carry_out([reaches("teams", "localhost", port)])
    assert found.severity is Severity.ERROR
    assert "self-signed certificate" in found.what
    assert "proxy" in found.todo


async def test_a_port_that_nobody_listens_on_and_a_name_that_nobody_knows_are_errors() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    refused, unknown = await carry_out([reaches("zoom", "127.0.0.1", free), reaches("zoom", "nobody.invalid")])
    assert refused.severity is unknown.severity is Severity.ERROR
    assert "refused" in refused.what.lower() or "Connect call failed" in refused.what
    assert "nobody.invalid:443 by TCP" in unknown.todo
