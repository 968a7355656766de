"""Checks names, TLS and UDP: whether this machine reaches what a bot needs."""

import asyncio
import secrets
import socket
import ssl
import struct
import time
from typing import Any, Final

from common.runtime.doctor.checks import Check, Found, beside, error, ok, skipped

DEADLINE_S: Final = 8.0
STUN_DEADLINE_S: Final = 4.0
_AGAIN_S: Final = 0.5  # RFC 8489, 6.2.1: the first wait before a request is sent once more
_BINDING_REQUEST: Final = 0x0001
_BINDING_SUCCESS: Final = 0x0101
_COOKIE: Final = 0x2112A442
_XOR_MAPPED_ADDRESS: Final = 0x0020
_MAPPED_ADDRESS: Final = 0x0001
_IPV4, _IPV6 = 1, 2
_Address = tuple[int, tuple[Any, ...]]


def reaches(name: str, host: str, port: int = 443, *, tls: ssl.SSLContext | None = None) -> Check:
    """Check that the host's name resolves, that it takes a connection, and that its certificate is valid."""

    async def look() -> Found:
        began = time.monotonic()
        infos = await _addresses(host, port, socket.SOCK_STREAM)
        resolved_s = time.monotonic() - began
        try:
            _, writer = await _connected(host, infos, tls or ssl.create_default_context())
        except ssl.SSLCertVerificationError as fault:
            todo = "a proxy that reads along, or a wrong clock: let these hosts pass untouched"
            return error(f"{host}: {fault.verify_message}", todo)
        writer.close()
        took_ms = (time.monotonic() - began) * 1000
        return ok(f"{host}: name in {resolved_s * 1000:.0f} ms, TLS in {took_ms:.0f} ms")

    todo = f"let this machine reach {host}:{port} by TCP: DNS, routes, firewall, proxy"
    return Check(name, DEADLINE_S, look, todo, needs_network=True)


async def _addresses(host: str, port: int, kind: socket.SocketKind) -> list[_Address]:
    """The host's addresses. Raises: OSError that names the host."""
    try:
        infos = await beside(lambda: socket.getaddrinfo(host, port, type=kind))
    except socket.gaierror as fault:
        raise OSError(f"{host}: {fault.strerror}") from fault
    return [(family, address) for family, _, _, _, address in infos]


async def _connected(
    host: str, infos: list[_Address], tls: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that accepts. Raises: the OSError of the last address."""
    fault: OSError = OSError(f"{host} has no address")
    for _, address in infos:
        try:
            return await asyncio.open_connection(str(address[0]), int(address[1]), ssl=tls, server_hostname=host)
        except ssl.SSLCertVerificationError:
            raise
        except OSError as failed:
            fault = failed
    raise fault


def stun(server: str) -> Check:
    """Check that UDP works, which media need: send a STUN binding request to `server` (host:port)."""

    async def look() -> Found:
        if not server:
            return skipped("worker.stun_server is empty")
        host, _, port = server.rpartition(":")
        infos = await _addresses(host.strip("[]"), int(port), socket.SOCK_DGRAM)
        began = time.monotonic()
        seen = await _bind(*infos[0])
        return ok(f"{server} answered in {(time.monotonic() - began) * 1000:.0f} ms; it sees this machine as {seen}")

    todo = (
        "let UDP out and its answers in (ports 3478, 19302 and 1024 to 65535): without it sound and pictures go by TCP,"
        " late, or not at all"
    )
    return Check("udp", STUN_DEADLINE_S, look, todo, needs_network=True)


async def _bind(family: int, address: tuple[Any, ...]) -> str:
    """This machine's address as the server sees it. Asks again every half second, until the caller's deadline."""
    transaction = secrets.token_bytes(12)
    request = struct.pack(">HHI12s", _BINDING_REQUEST, 0, _COOKIE, transaction)
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        udp.connect(address)
        while True:
            await loop.sock_sendall(udp, request)
            try:
                async with asyncio.timeout(_AGAIN_S):
                    while not (seen := mapped_address(await loop.sock_recv(udp, 2048), transaction)):
                        pass
            except TimeoutError:
                continue
            return seen


def mapped_address(answer: bytes, transaction: bytes) -> str:
    """The address in a binding response (RFC 8489, 14.1 and 14.2); empty if it is no answer to this request."""
    if len(answer) < 20:
        return ""
    kind, length, cookie, answered = struct.unpack(">HHI12s", answer[:20])
    if kind != _BINDING_SUCCESS or cookie != _COOKIE or answered != transaction:
        return ""
    attributes, found = answer[20 : 20 + length], ""
    while len(attributes) >= 4:
        attribute, size = struct.unpack(">HH", attributes[:4])
        value = attributes[4 : 4 + size]
        if attribute in (_XOR_MAPPED_ADDRESS, _MAPPED_ADDRESS) and len(value) in (8, 20):
            mask = struct.pack(">I", _COOKIE) + transaction if attribute == _XOR_MAPPED_ADDRESS else bytes(16)
            found = _address(value, mask) or found
        attributes = attributes[4 + (size + 3 & ~3) :]
    return found


def _address(value: bytes, mask: bytes) -> str:
    family, port = struct.unpack(">xBH", value[:4])
    raw = bytes(a ^ b for a, b in zip(value[4:], mask, strict=False))
    port ^= int.from_bytes(mask[:2])
    if family == _IPV4 and len(raw) == 4:
        return f"{socket.inet_ntop(socket.AF_INET, raw)}:{port}"
    if family == _IPV6 and len(raw) == 16:
        return f"[{socket.inet_ntop(socket.AF_INET6, raw)}]:{port}"
    return ""
