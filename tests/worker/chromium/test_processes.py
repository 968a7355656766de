"""What /proc tells of processes and connections."""

import socket

from worker.chromium.processes import unread_bytes


def test_what_was_not_read_is_counted_by_the_port_that_sent_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        port: int = server.getsockname()[1]
        peer, _ = server.accept()
        with peer:
            assert unread_bytes({port}) == {port: 0}
            peer.sendall(b"x" * 1000)
            assert unread_bytes({port}) == {port: 1000}
            assert unread_bytes(()) == {}
            client.recv(400)
            assert unread_bytes({port}) == {port: 600}
