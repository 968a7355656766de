"""The lines that `poolmgr up` prints for each piece of news. Does no I/O."""

import json
import shlex
import signal
import sys
from contextlib import suppress
from functools import singledispatch
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from common.config.masking import HIDDEN
from common.config.redis_url import Finds, finds, read
from common.runtime.cli.text import count, duration, literal
from poolmgr.one_machine import news
from poolmgr.one_machine.news import News, PartName

_MOST_FACTS: Final = 240
_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  # what is asked about, not listened on
_SOMEBODY_ELSES: Final = "https://meet.google.com/abc-defg-hij"
_CALL: Final = "/api/v1/bots/create_bot"


@singledispatch
def lines(what: News) -> list[str]:
    """The lines for a piece of news, without line ends."""
    raise AssertionError(what)


@lines.register
def _(what: news.Began) -> list[str]:
    said = [f"state     {literal(what.state_dir)}: data, token, log/*.log"]
    config = literal(what.config) if what.config else "every key has its default: no file was named"
    others = f"; overridden by {literal(', '.join(what.overridden_by))}" if what.overridden_by else ""
    said.append(f"config    {config}{others}")
    own = "one of its own, append-only, on a socket and no port"
    named = f"the one that {literal(what.redis_set_by)} names; none is started"
    said.append(f"redis     {named if what.redis_set_by else own}")
    if what.is_root:
        said.append(
            "ROOT      Chromium has no sandbox for root: what breaks out of a page is root. Use a user's account"
        )
    return said


@lines.register
def _(what: news.TookOver) -> list[str]:
    how = "it had to be killed" if what.was_killed else "it is gone"
    more = "; its browsers go on" if what.part is PartName.AGENT else ""
    return [f"{what.part:<9} an earlier `poolmgr up` left one (process {what.pid}): {how}{more}"]


@lines.register
def _(what: news.Opened) -> list[str]:
    api = _address(what.api, tls=what.api_tls)
    said = [
        f"manager   {api}/api/v1, described at {api}/api/v1/docs; metrics at {_address(what.metrics)}/metrics",
        f"agent     VM {literal(what.vm_id)}: {count(what.min_idle, 'browser')} kept warm, {what.max_workers} at most",
    ]
    header, json_type = f"-H @{shlex.quote(what.header_file)}", "-H 'Content-Type: application/json'"
    job = json.dumps({"meeting_link": _link(what), "bot_name": "Notes"})
    named = f" --config {shlex.quote(what.config)}" if what.config else ""
    shown = {name: value for name, value in what.environment.items() if HIDDEN not in value}
    look_as = ", with POOLMGR_REDIS__URL as here, which holds a password" if shown != what.environment else ""
    variables = "".join(f"{name}={shlex.quote(value)} " for name, value in shown.items())
    look = f"{variables}{shlex.quote(what.program)} fleet --watch{named}"
    return [
        *said,
        "",
        "From another terminal, a first bot, in one of two ways:",
        f"  redis-cli {_where(what)} LPUSH {shlex.quote(what.jobs)} {shlex.quote(job)}",
        f"  curl {'-k ' if what.api_tls else ''}{header} {json_type} {api}{_CALL} -d {shlex.quote(job)}",
        *(["  (-k, since the certificate is for the API's name and not for this address)"] if what.api_tls else []),
        *_room(what),
        f"The API's token is in {literal(what.token_file)}. To look on{look_as}:",
        f"  {look}",
        "Ctrl-C lets the calls end that are under way; once more, and the bots leave now.",
        "",
    ]


@lines.register
def _(what: news.Warming) -> list[str]:
    return [f"warming: {what.idle} of {count(what.wanted, 'browser')}, after {duration(what.after_s)}"]


@lines.register
def _(what: news.Ready) -> list[str]:
    after = f"after {duration(what.after_s)}"
    bots = f", {count(what.bots, 'bot goes on', 'bots go on')}" if what.bots else ""
    if not what.wanted:
        return [f"ready: no browser is kept warm (pool.min_idle), {after}{bots}"]
    browsers = f"{count(what.idle, 'browser is', 'browsers are')} warm {after}"
    if what.idle >= what.wanted:
        return [f"ready: {browsers}{bots}"]
    return [
        f"ready: {browsers}{bots}",
        f"       {what.wanted} are wanted (pool.min_idle): there is no memory for more (worker.memory_reserve_mb)",
    ]


@lines.register
def _(what: news.Waiting) -> list[str]:
    said = [f"redis     no answer, for {duration(what.after_s)} by now: {literal(what.why)}"]
    if what.redis_set_by:
        by = literal(what.redis_set_by)
        said.append(f"          {by} names it; where nothing does, `poolmgr up` starts one of its own")
    return said


@lines.register
def _(what: news.Died) -> list[str]:
    return [
        f"{what.part:<9} {_end(what.code)}; started again in {duration(what.again_in_s)}",
        *_quoted(what.words if what.code > 0 else ()),
    ]


@lines.register
def _(what: news.Back) -> list[str]:
    return [f"{what.part:<9} works again, after {duration(what.after_s)}"]


@lines.register
def _(what: news.CannotStart) -> list[str]:
    return [f"{what.part:<9} cannot start: it {_end(what.code)} (log/{what.part}.log)", *_quoted(what.words)]


@lines.register
def _(what: news.BotNews) -> list[str]:
    words = {"waiting_room": "waits to be let in", "in_meeting": "is in the meeting", "rejected": "was rejected"}
    why = f" ({literal(what.reason)})" if what.reason else ""
    return [f"bot       {literal(what.bot_id)} {words.get(what.state, 'has ended')}{why}"]


@lines.register
def _(what: news.BrowserFailed) -> list[str]:
    return [f"browser   {what.cause}: {literal(what.detail)[:_MOST_FACTS]}"]


@lines.register
def _(what: news.Warned) -> list[str]:
    facts = ", ".join(f"{name}: {value}" for name, value in what.facts.items())
    return [f"{what.part:<9} {what.level}: {literal(what.what)}{f' ({literal(facts)[:_MOST_FACTS]})' if facts else ''}"]


@lines.register
def _(what: news.Draining) -> list[str]:
    if not what.bots:
        return ["stopping: no bot is under way"]
    bots = count(what.bots, "bot goes on until its call ends", "bots go on until their calls end")
    them = "it" if what.bots == 1 else "them"
    return [f"draining: {bots}, {duration(what.at_most_s)} at most. Ctrl-C makes {them} leave now"]


@lines.register
def _(what: news.BotsLeft) -> list[str]:
    return [f"draining: {count(what.bots, 'bot is', 'bots are')} left" if what.bots else "draining: no bot is left"]


@lines.register
def _(what: news.Leaving) -> list[str]:
    who = count(what.bots, "bot leaves its meeting", "bots leave their meetings") if what.bots else "all ends"
    return [f"leaving: {who}, within {duration(what.at_most_s)}. Ctrl-C ends all as it is"]


@lines.register
def _(_: news.Ending) -> list[str]:
    return ["ending: browsers and parts are killed"]


@lines.register
def _(what: news.Killed) -> list[str]:
    return [f"{what.part:<9} did not end in time and is killed"]


@lines.register
def _(what: news.Stopped) -> list[str]:
    first = "Put right what is said above, and start again: it" if what.code in (1, 2) else "The next start"
    return [f"stopped. {first} goes on where this one was"]


def _quoted(words: tuple[str, ...]) -> list[str]:
    return [f"          {literal(line)}" for line in words]


def _end(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _address(listen: str, *, tls: bool = False) -> str:
    host, _, port = listen.rpartition(":")
    host = "127.0.0.1" if host.strip("[]") in _EVERYWHERE else host
    return f"{'https' if tls else 'http'}://{host}:{port if int(port) else 'PORT'}"


def _where(what: news.Opened) -> str:
    """The options that tell redis-cli which Redis, and of which user. It asks for a password."""
    if what.socket:
        return f"-s {shlex.quote(what.socket)}"
    url = urlsplit(read(what.redis_url).plain)
    options = dict(parse_qsl(url.query))
    login = "--askpass " if url.password or "password" in options else ""
    if login and (user := unquote(url.username or "") or options.get("username")):
        login += f"--user {shlex.quote(user)} "
    is_socket, place = url.scheme == "unix", url.netloc.rpartition("@")[2]
    database = options.get("db") or ("" if is_socket else url.path.strip("/")) or "0"
    chosen = "" if database == "0" else f" -n {shlex.quote(database)}"
    if is_socket:
        return f"{login}-s {shlex.quote(unquote(url.path))}{chosen}"
    match finds(what.redis_url):
        case Finds.BY_SENTINELS:
            return f"{login}-h PRIMARY{chosen}"  # only sentinels know, and tomorrow it is another one
        case Finds.IN_A_CLUSTER:
            login += "-c "
        case Finds.DIRECTLY:
            pass
    return f"{login}-u {shlex.quote(f'{url.scheme}://{place}/{database}')}"


def _link(what: news.Opened) -> str:
    return f"http://{what.room_hosts[0]}/r/standup" if what.room_hosts else _SOMEBODY_ELSES


def _room(what: news.Opened) -> list[str]:
    if not what.room_hosts:
        return []
    where = "" if what.room_hosts[0] == "127.0.0.1:8090" else f" --listen {what.room_hosts[0]}"
    return [
        "The link may be one of yours. This one leads to a meeting room for trying out, which is started by",
        f"  {shlex.quote(sys.executable)} -m lab.meeting --open{where}",
    ]
