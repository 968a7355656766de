"""Free ports of 127.0.0.1, and whether a port is listened on."""

import os
import socket
from itertools import count as count_up
from itertools import islice
from typing import Final

_PORTS: Final = range(16_384, 32_768)
"""Linux uses those above for outgoing calls, if nobody has changed net.ipv4.ip_local_port_range."""
_EACH: Final = 256
"""How many of them a process has for itself."""
_turns: Final = count_up()


def free_ports(count: int) -> list[int]:
    """Ports that no program listens on now, all different. A part can be started again on one: the kernel uses none of
    them for outgoing calls, and processes that take ports here at the same time have each their own, in turn.

    Raises: OSError.
    """
    own = _PORTS[os.getpid() % (len(_PORTS) // _EACH) * _EACH :][:_EACH]
    in_turn = (own[turn % _EACH] for turn in islice(_turns, _EACH))
    ports = list(islice((port for port in in_turn if not listens(port)), count))
    if len(ports) < count:
        raise OSError(f"fewer than {count} of the ports {own[0]} to {own[-1]} are free")
    return ports


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
