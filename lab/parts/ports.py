"""Free ports of 127.0.0.1, and whether a port is listened on."""

import atexit
import socket
from collections import deque
from typing import Final

_MOST_HELD: Final = 200
_held: Final = deque[socket.socket]()


def free_ports(count: int) -> list[int]:
    """Ports that no program listens on, all different. The kernel gives them to no other program, neither for a server
    nor for an outgoing call, until this process has ended or was given 200 others. So a part can start on one late, and
    again and again.

    A socket that is bound and does not listen holds each. Beside it a server can be bound if it sets SO_REUSEADDR, as
    servers do: socket(7).
    """
    taken = [_bound() for _ in range(count)]
    _held.extend(taken)
    while len(_held) > max(_MOST_HELD, count):
        _held.popleft().close()
    return [each.getsockname()[1] for each in taken]


def _bound() -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", 0))
    return one


@atexit.register
def _let_go() -> None:
    for each in _held:
        each.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
