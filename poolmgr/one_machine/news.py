"""What `poolmgr up` reports, as facts. poolmgr/cli/program/up_words.py makes sentences of them."""

from enum import StrEnum

import msgspec


class PartName(StrEnum):
    """The programs, in the order in which they start. They end in the opposite order."""

    REDIS = "redis"
    MANAGER = "manager"
    AGENT = "agent"


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class News(msgspec.Struct, frozen=True, tag_field="event", tag=_snake):
    pass


class Began(News, frozen=True):
    """`up` has begun and started nothing yet. `overridden_by`: the variables and credentials that override the file
    `config`, or the defaults. `redis_set_by`: the file or variable that names the Redis; empty: it is private.
    """

    state_dir: str
    config: str
    overridden_by: list[str]
    redis_set_by: str
    is_root: bool


class TookOver(News, frozen=True):
    """A part of an earlier `up`, which was killed, has been ended. An agent leaves its browsers to the next one."""

    part: PartName
    pid: int
    was_killed: bool


class Opened(News, frozen=True):
    """Jobs are taken from now on, over HTTP and from the list `jobs`.

    `program`: how to call `poolmgr`, with the file `config`, if there is one, and the variables `environment`, so that
    it uses the same Redis. Neither they nor `redis_url` hold a password. `socket`: of the private Redis; empty: there
    is none. `api`, `metrics`: the configured addresses. `header_file`: the file with the header that curl has to send.
    """

    program: str
    config: str
    environment: dict[str, str]
    redis_url: str
    jobs: str
    socket: str
    api: str
    api_tls: bool
    metrics: str
    vm_id: str
    token_file: str
    header_file: str
    room_hosts: list[str]
    min_idle: int
    max_workers: int


class Warming(News, frozen=True):
    """Not all browsers are warm yet."""

    idle: int
    wanted: int
    after_s: float


class Ready(News, frozen=True):
    """The wanted browsers are warm, or as many as memory allows. `bots`: how many the agent has."""

    idle: int
    wanted: int
    bots: int
    after_s: float


class Waiting(News, frozen=True):
    """Redis does not answer. `why`: the error."""

    why: str
    after_s: float
    redis_set_by: str


class Died(News, frozen=True):
    """A part ended by itself. `code`: negative for a signal. `words`: its last output."""

    part: PartName
    code: int
    words: tuple[str, ...]
    again_in_s: float


class Back(News, frozen=True):
    """A part works again."""

    part: PartName
    after_s: float


class CannotStart(News, frozen=True):
    """A part never worked, and another start would not help. `log`: the file with all its output."""

    part: PartName
    code: int
    words: tuple[str, ...]


class BotNews(News, frozen=True):
    """A bot reached a state that is printed."""

    bot_id: str
    state: str
    reason: str


class BrowserFailed(News, frozen=True):
    """A browser could not be warmed, or died."""

    cause: str
    detail: str


class Warned(News, frozen=True):
    """A part logged a warning or an error."""

    part: PartName
    level: str
    what: str
    facts: dict[str, str]


class Draining(News, frozen=True):
    """`up` was asked to end. The `bots` may go on until they end, for the given time at most. None: the agent has sent
    no heartbeat.
    """

    bots: int | None
    at_most_s: float


class BotsLeft(News, frozen=True):
    """While draining: how many bots have not ended."""

    bots: int


class Leaving(News, frozen=True):
    """`up` was asked a second time: bots leave their meetings now."""

    bots: int | None
    at_most_s: float


class Ending(News, frozen=True):
    """`up` was asked a third time: everything is ended at once."""


class Killed(News, frozen=True):
    """A part did not end in time."""

    part: PartName


class Stopped(News, frozen=True):
    """All parts have ended. `code`: the exit code."""

    code: int
