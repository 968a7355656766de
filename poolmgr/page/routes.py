"""The routes of the page, behind the API's gateway.

The page's files are served to everybody and contain no data. The data needs a token that sees all bots.
"""

import asyncio
import base64
import hashlib
from contextlib import aclosing
from functools import partial
from importlib import resources
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta
from redis.exceptions import RedisError

from common.config.settings import Settings, TokenSettings
from common.jobs.job import BOT_ID
from common.wire.looks import Picture
from common.wire.text import is_text
from common.wire.vocabulary import Status
from poolmgr.api.errors import HEADERS, ApiError, bad_request, bot_not_found, later
from poolmgr.api.gateway import Gateway, Handler
from poolmgr.api.operation import Answer, Call, Operation, Service
from poolmgr.core.requests import DrainRequested
from poolmgr.page.bot import bot_page
from poolmgr.page.outlook import row_of
from poolmgr.page.watch import Watch
from poolmgr.store.actions import By, Way
from poolmgr.store.leader.probes import Probes
from poolmgr.store.looks import Looks
from poolmgr.store.reading.catalog import Question
from poolmgr.store.reading.sight import Sight
from poolmgr.store.reading.views import DeadJob
from poolmgr.telling.history import rejected
from poolmgr.telling.secrecy import hide_links

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    **HEADERS,
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_STREAM: Final = {**_HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
_FILES: Final = {"page/page.js": "text/javascript", "page/page.css": "text/css"}
_KEPT: Final = {**_HEADERS, "Cache-Control": "private, max-age=31536000, immutable"}

MOST_WATCHING: Final = 100
MOST_LOOKING: Final = 8
"""How many looks into bots one manager serves at a time."""
_WRITE_S: Final = 10.0
"""A viewer that does not read for so long is disconnected."""
_AGAIN_S: Final = 1.0
_BEATS: Final = 2
"""After this many times without a picture the bot's record is read again."""
_FOUND: Final = 20
_RUNS: Final = 50
_ACTIONS: Final = 200
_DEAD_LOOKED_AT: Final = 1000


class Search(msgspec.Struct):
    q: Annotated[str, Meta(min_length=1, max_length=256)]


class Drain(msgspec.Struct):
    draining: bool


def add_page(app: web.Application, gateway: Gateway, service: Service, settings: Settings) -> None:
    for path, media_type in _FILES.items():
        app.router.add_get(f"/{path}", _file(_read(path), media_type))
    app.router.add_get("/", _file(_front(), "text/html"))
    page = _Page(service, settings)
    for operation in (
        Operation("GET", "/page/me", "", "", page.me, {}),
        Operation("GET", "/page/search", "", "", page.search, {}, query=Search),
        Operation("GET", "/page/bots/{bot_id}", "", "", page.bot, {}),
        Operation("GET", "/page/vms/{vm_id}", "", "", page.vm, {}),
        Operation("GET", "/page/probes", "", "", page.probes, {}),
        Operation("GET", "/page/actions", "", "", page.actions, {}),
        Operation("POST", "/page/vms/{vm_id}/drain", "", "", page.drain, {}, body=Drain),
    ):
        app.router.add_route(operation.method, operation.path, gateway.handler(operation))
    live = Operation("GET", "/page/live", "", "", page.me, {})
    app.router.add_get(live.path, gateway.streaming(live, page.begin))
    look = Operation("GET", "/page/bots/{bot_id}/look", "", "", page.me, {})
    app.router.add_get(look.path, gateway.streaming(look, page.begin_look))
    app.on_shutdown.append(page.close)


def _read(path: str) -> bytes:
    return (resources.files("poolmgr.page") / "shown" / path.removeprefix("page/")).read_bytes()


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _front() -> bytes:
    """The page, which names its files with their versions: a browser that has them does not ask for them again."""
    page = _read("page.html")
    for path in _FILES:
        page = page.replace(f'"{path}"'.encode(), f'"{path}?{_version(_read(path))}"'.encode())
    return page


def _file(data: bytes, media_type: str) -> Handler:
    """What is asked for by its version may be kept. Another manager may have another version of it."""
    version = _version(data)

    async def answer(request: web.Request) -> web.Response:
        headers = _KEPT if request.query_string == version else _HEADERS
        return web.Response(body=data, content_type=media_type, charset="utf-8", headers=headers)

    return answer


class _Page:
    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._sight = Sight(service.redis, service.keys)
        self._watch = Watch(service.redis, service.keys, settings.pool, service.wall, service.steady)
        self._looks = Looks(service.redis, service.keys)
        self._watching = self._looking = 0
        self._closing = asyncio.Event()

    async def close(self, _app: web.Application) -> None:
        """End all streams. The viewers then ask another manager."""
        self._closing.set()

    async def me(self, call: Call) -> Answer:
        _sees_all(call.token)
        pool = self._settings.pool
        return Answer(
            200,
            {
                "name": call.token.name,
                "role": call.token.role,
                "look": call.token.look,
                "max_workers": pool.max_workers,
            },
        )

    # The live stream

    async def begin(self, _request: web.Request, token: TokenSettings) -> Handler:
        """Check the token and begin the stream. Raises: ApiError."""
        _sees_all(token)
        if self._watching >= MOST_WATCHING:
            raise later(503, f"{MOST_WATCHING} watch already.", 30.0)
        return self._live

    async def _live(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=_STREAM)
        self._watching += 1
        try:
            await response.prepare(request)
            version = -1
            while not self._closing.is_set():
                try:
                    version, events = await self._watch.next(version)
                except (RedisError, OSError):
                    await _write(response, b'data: {"kind":"fault","message":"Redis is away, or will not answer."}\n\n')
                    await asyncio.sleep(_AGAIN_S)
                    version = -1
                    continue
                await _write(response, events or b": beat\n\n")
        except (TimeoutError, ConnectionError):
            if request.transport:
                request.transport.abort()
        finally:
            self._watching -= 1
        return response

    # A look into a live bot

    async def begin_look(self, request: web.Request, token: TokenSettings) -> Handler:
        """Check that this token may look, record that it does, and begin. Raises: ApiError."""
        _sees_all(token)
        if not token.look:
            raise ApiError(403, "Your token may not look into a live bot: that takes look = true, which no role has.")
        bot_id = request.match_info["bot_id"]
        if not BOT_ID.fullmatch(bot_id):
            raise bot_not_found()
        if self._looking >= MOST_LOOKING:
            raise later(503, f"{MOST_LOOKING} look into bots already.", 10.0)
        try:
            bot = await self._service.views.bot(bot_id)
            if bot is None:
                raise bot_not_found()
            if bot.is_over:
                raise ApiError(409, "This bot has stopped: there is nothing to look into.")
            await self._looks.note(bot_id, By(token.name, Way.API))
        except (RedisError, OSError) as error:
            raise later(503, "Redis is away, or will not answer.", 2.0) from error
        return partial(self._look, bot_id)

    async def _look(self, bot_id: str, request: web.Request) -> web.StreamResponse:
        """Pictures as they come, until the viewer goes or the bot is over."""
        response = web.StreamResponse(headers=_STREAM)
        self._looking += 1
        try:
            await response.prepare(request)
            while not self._closing.is_set() and await self._shown(bot_id, response):
                pass
        except (RedisError, OSError, TimeoutError):  # the error of a viewer that has gone is one of them
            if request.transport:
                request.transport.abort()
        finally:
            self._looking -= 1
        return response

    async def _shown(self, bot_id: str, response: web.StreamResponse) -> bool:
        """Hand on the pictures of one worker. Returns whether the bot may have another one."""
        bot = await self._service.views.bot(bot_id)
        if bot is None or bot.is_over:
            await _write(response, b'data: {"over":true}\n\n')
            return False
        if not bot.vm_id:
            await _write(response, _framed(Picture(0.0, why=f"it has no worker: it is {bot.state}")))
            await asyncio.sleep(_AGAIN_S)
            return True
        async with aclosing(self._looks.pictures(bot.vm_id, bot_id)) as pictures:
            looked = 0
            async for picture in pictures:
                await _write(response, _framed(picture) if picture else b": beat\n\n")
                looked += picture is None or not picture.jpeg
                if looked > _BEATS or self._closing.is_set():  # has it ended, or another worker?
                    break
        return True

    # One bot, one VM

    async def bot(self, call: Call) -> Answer:
        _sees_all(call.token)
        service, settings = self._service, self._settings
        outlook = self._watch.outlook
        fleet = list(outlook.vms.values()) if outlook.whole else []
        found = await bot_page(service.views, service.meetings, settings, call.path["bot_id"], fleet)
        if found is None:
            job = await rejected(service.views, call.path["bot_id"], most=_DEAD_LOOKED_AT)
            raise (
                ApiError(404, f"Its job was rejected: {_why(job)}. It never became a bot.") if job else bot_not_found()
            )
        return Answer(200, found)

    async def vm(self, call: Call) -> Answer:
        _sees_all(call.token)
        vm_id = call.path["vm_id"]
        vm = await self._service.views.vm(vm_id)
        if vm is None:
            raise ApiError(404, "There is no such VM.")
        workers = await self._sight.workers(vm_id)
        bots = await self._sight.bots([worker.bot_id for worker in workers if worker.bot_id])
        names = {bot["bot_id"]: {"name": bot["bot_name"], "state": bot["state"]} for bot in bots}
        vitals = await self._sight.vitals(vm_id)
        return Answer(200, {"vm": vm, "workers": workers, "bots": names, "vitals": vitals, "now": self._service.wall()})

    async def drain(self, call: Call) -> Answer:
        _sees_all(call.token)
        vm_id, wish = call.path["vm_id"], call.body
        if await self._service.views.vm(vm_id) is None:
            raise ApiError(404, "There is no such VM.")
        await self._service.views.request(DrainRequested(vm_id, draining=wish.draining), call.by)
        return Answer(200, {"message": "It drains." if wish.draining else "It takes bots again."})

    async def probes(self, call: Call) -> Answer:
        """The result of each link's latest probe. The latest comes first."""
        _sees_all(call.token)
        probes, links = Probes(self._service.redis, self._service.keys), self._settings.probes.links
        return Answer(200, [{"name": link.name, "runs": await probes.history(link.name, _RUNS)} for link in links])

    async def actions(self, call: Call) -> Answer:
        """Actions with who did them. The latest comes first."""
        _sees_all(call.token)
        return Answer(200, (await self._service.views.actions.since(0.0, most=_ACTIONS))[::-1])

    async def search(self, call: Call) -> Answer:
        """Search by name among the shown bots, and by the bots' indexes: id, user, calendar event, status word."""
        _sees_all(call.token)
        text = call.query.q.strip()
        if not (text and is_text(text)):
            raise bad_request("q: is empty")
        vms, ids = self._watch.outlook.find(text, _FOUND)
        if BOT_ID.fullmatch(text):
            ids.insert(0, text)
        status = next((word.value for word in Status if word.casefold() == text.casefold()), "")
        questions = [Question(pairs=((field, text),)) for field in ("user_id", "calendar_event_id")]
        for question in [*questions, *([Question(status)] if status else [])]:
            page = await self._service.catalog.page(question, _FOUND)
            ids += [bot.bot_id for bot in page.bots]
        found = await self._sight.bots(list(dict.fromkeys(ids))[: 3 * _FOUND])
        told: dict[str, Any] = {"vms": vms, "bots": [row_of(record) for record in found], "rejected": ""}
        if not (vms or found) and (job := await rejected(self._service.views, text, most=_DEAD_LOOKED_AT)):
            told["rejected"] = _why(job)
        return Answer(200, told)


def _why(job: DeadJob) -> str:
    """Why a job was rejected, and when."""
    return f"{job.reason}, {hide_links(job.detail)} ({job.at[:19].replace('T', ' ')} UTC)"


def _framed(picture: Picture) -> bytes:
    told = {"at": picture.at, "worker": picture.worker_id, "why": picture.why}
    told["jpeg"] = base64.b64encode(picture.jpeg).decode()
    return b"data: %s\n\n" % msgspec.json.encode(told)


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(_WRITE_S):
        await response.write(data)


def _sees_all(token: TokenSettings) -> None:
    """Check that the token sees all bots. Raises: ApiError 403."""
    if token.sees != "all":
        raise ApiError(403, 'This page shows all bots, and your token sees only its own (sees = "own").')
