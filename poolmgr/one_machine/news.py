"""What `poolmgr up` has to report: facts only. poolmgr/cli/up_words.py makes sentences of them."""

from enum import StrEnum

import msgspec


class PartName(StrEnum):
    """The programs, in the order in which they are started. They are ended in the opposite one."""

    REDIS = "redis"
    MANAGER = "manager"
    AGENT = "agent"


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class News(msgspec.Struct, frozen=True, tag_field="event", tag=_snake):
    pass


class Began(News, frozen=True):
    """Nothing is started yet. `redis_set_by`: the file or variable that names the Redis; empty: it is a private one."""

    state_dir: str
    config: str
    redis_set_by: str
    is_root: bool


class TookOver(News, frozen=True):
    """An earlier `up` was killed before it could end this part; it is ended now. An agent leaves its browsers to the
    next one.
    """

    part: PartName
    pid: int
    was_killed: bool


class Opened(News, frozen=True):
    """Jobs are taken from here on: over HTTP, and from the list `jobs`.

    `program`: how to call `poolmgr`, with `config`, if there is one, and `environment` over it. `socket`: that of the
    private Redis, empty if there is none. `api`, `metrics`: where they are served, as it is configured. `header_file`
    holds the header that curl is to send.
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
    """As many browsers are warm as are wanted, or as memory allows. `bots`: how many the agent has."""

    idle: int
    wanted: int
    bots: int
    after_s: float


class Waiting(News, frozen=True):
    """Redis does not answer: `why` in its own words."""

    why: str
    after_s: float
    redis_set_by: str


class Died(News, frozen=True):
    """A part ended without being asked to. `code`: negative for a signal. `words`: the last that it said."""

    part: PartName
    code: int
    words: tuple[str, ...]
    again_in_s: float


class Back(News, frozen=True):
    """It works again."""

    part: PartName
    after_s: float


class CannotStart(News, frozen=True):
    """A part never came up, and trying again would change nothing. `log`: the file with all its output."""

    part: PartName
    code: int
    words: tuple[str, ...]


class BotNews(News, frozen=True):
    """A bot came to where an operator looks."""

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
    """Told to end. `bots` may go on until they end, at most for that time. None: no heartbeat came from the agent."""

    bots: int | None
    at_most_s: float


class BotsLeft(News, frozen=True):
    """While it drains: so many have not ended."""

    bots: int


class Leaving(News, frozen=True):
    """Told once more: bots leave their meetings now."""

    bots: int | None
    at_most_s: float


class Ending(News, frozen=True):
    """Told a third time: all is ended as it is."""


class Killed(News, frozen=True):
    """A part did not end in time."""

    part: PartName


class Stopped(News, frozen=True):
    """Nothing runs any more. `code`: the exit code."""

    code: int
