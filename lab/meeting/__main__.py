"""The command line of the meeting room: `python -m lab.meeting`. Parses, listens, waits for a signal, stops."""

import asyncio
import os
import secrets
import signal

import click
from aiohttp import web

from lab.meeting.server import HEARTBEAT_S, create_app

SHUTDOWN_DEADLINE_S = 3.0


@click.command(
    epilog="""\b
Examples:
  python -m lab.meeting                                 a lobby, and a fresh host key
  python -m lab.meeting --host-key letmein              the host link stays the same over restarts
  python -m lab.meeting --open --listen 0.0.0.0:8090    no lobby, reachable from other machines

Browsers give a page the microphone and camera only on localhost or over https."""
)
@click.option("--listen", default="127.0.0.1:8090", show_default=True, metavar="HOST:PORT", help="Where to listen.")
@click.option("--host-key", envvar="ROOM_HOST_KEY", help="What makes a host.  [env: ROOM_HOST_KEY; default: random]")
@click.option("--open", "no_lobby", is_flag=True, help="No lobby: everybody is admitted at once.")
@click.option(
    "--heartbeat-s",
    type=click.FloatRange(0.1, 3600),
    default=HEARTBEAT_S,
    show_default=True,
    help="Seconds between pings. Who does not answer one within half of that is dropped.",
)
def main(listen: str, host_key: str | None, no_lobby: bool, heartbeat_s: float) -> None:
    """A small meeting room in the browser, with a lobby and real WebRTC.

    Prints a link for guests and one for hosts, and runs until SIGINT or SIGTERM.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter("needs HOST:PORT, like 127.0.0.1:8090", param_hint="--listen")
    if host_key is not None and not host_key:
        raise click.BadParameter("must not be empty", param_hint="--host-key")
    asyncio.run(_serve(host.strip("[]"), int(port), host_key or secrets.token_urlsafe(12), no_lobby, heartbeat_s))


async def _serve(host: str, port: int, host_key: str, no_lobby: bool, heartbeat_s: float) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    runner = web.AppRunner(
        create_app(host_key, no_lobby=no_lobby, heartbeat_s=heartbeat_s),
        access_log=None,
        shutdown_timeout=SHUTDOWN_DEADLINE_S,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise click.ClickException(f"cannot listen on {host}:{port}: {why}") from error
        bound_port: int = runner.addresses[0][1]
        address = f"http://{f'[{host}]' if ':' in host else host}:{bound_port}/r/demo"
        click.echo(f"Guests: {address}")
        click.echo(f"Host:   {address}?host={host_key}")
        await stop.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    main()
