"""Serving aiohttp applications on configured addresses, and what to say when that is not possible."""

from aiohttp import web


class CannotListenError(Exception):
    """The address is taken or is not of this machine."""


async def serve(app: web.Application, listen: str, setting: str) -> web.AppRunner:
    """Serve `app` on `listen` ("host:port"; port 0 takes a free one) until the runner's cleanup.

    Raises: CannotListenError naming `setting`.
    """
    host, _, port = listen.rpartition(":")
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
    except (OSError, OverflowError) as error:
        await runner.cleanup()
        raise CannotListenError(f"cannot listen on {listen} ({error}); change {setting}") from error
    return runner
