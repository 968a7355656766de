"""The part of WebSocket (RFC 6455) that the stand-in needs, over asyncio's streams. It imports only the standard
library, because the stand-in has to start quickly. It sends no extensions, no fragments and no closing handshake.
"""

import base64
import hashlib
from asyncio import StreamReader, StreamWriter
from typing import Final

_KEY: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_LAST: Final = 0x80


async def accept(reader: StreamReader, writer: StreamWriter) -> bool:
    """Answer a client's handshake. Returns False for any other request, which gets a 404."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = [line.partition(b":") for line in head.split(b"\r\n")]
    key = next((value.strip() for name, _, value in lines if name.lower() == b"sec-websocket-key"), None)
    if key is None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        return False
    proof = base64.b64encode(hashlib.sha1(key + _KEY).digest())  # the RFC's own choice
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    writer.write(b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n")
    return True


async def ask(reader: StreamReader, writer: StreamWriter, host: str, path: str) -> None:
    """The client's side of the handshake. Raises: ConnectionError when the server refuses."""
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    writer.write(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    if b" 101 " not in answer.split(b"\r\n")[0]:
        raise ConnectionError(answer.split(b"\r\n")[0].decode(errors="replace"))


async def read(reader: StreamReader, writer: StreamWriter) -> bytes | None:
    """The next message; None when the other side has closed. Raises: OSError, asyncio.IncompleteReadError."""
    parts: list[bytes] = []
    while True:
        first, second = await reader.readexactly(2)
        length = second & 0x7F
        if length > 125:
            length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8))
        mask = await reader.readexactly(4) if second & 0x80 else b""
        data = await reader.readexactly(length)
        if mask:
            data = _unmask(data, mask)
        opcode = first & 0x0F
        if opcode == _CLOSE:
            return None
        if opcode == _PING:
            writer.write(frame(data, opcode=_PONG))
        elif opcode != _PONG:
            parts.append(data)
            if first & _LAST:
                return b"".join(parts)


def frame(data: bytes, *, opcode: int = _TEXT, client: bool = False) -> bytes:
    """One unfragmented frame. A client must mask its frames: the mask is zero, which changes nothing."""
    flag, mask = (0x80, bytes(4)) if client else (0, b"")
    if len(data) < 126:
        size = bytes([flag | len(data)])
    elif len(data) < 1 << 16:
        size = bytes([flag | 126]) + len(data).to_bytes(2)
    else:
        size = bytes([flag | 127]) + len(data).to_bytes(8)
    return bytes([_LAST | opcode]) + size + mask + data


def _unmask(data: bytes, mask: bytes) -> bytes:
    key = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data) ^ int.from_bytes(key)).to_bytes(len(data))
