"""Free ports of 127.0.0.1, and whether a port is listened on."""

import random
import socket
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Ports that no program listens on now, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def lasting_ports(count: int) -> list[int]:
    """Free ports that the kernel does not use for outgoing calls, so a part can be started again on one."""
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(first_given // 2, first_given)
        if port not in ports and not listens(port):
            ports.append(port)
    return ports


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
