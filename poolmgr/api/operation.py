"""An operation of the API as data: its input, its answers, its handler. Routes and the document come from it."""

from collections.abc import Callable, Coroutine, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from redis.asyncio import Redis

from common.config.settings import Settings, TokenSettings
from common.jobs.job import JobRules
from common.runtime.recordings.sound.m4a import Conversions
from common.runtime.recordings.store import Store
from poolmgr.api.errors import Message
from poolmgr.api.rate import Rates
from poolmgr.api.turns import Turns
from poolmgr.store.actions import By, Way
from poolmgr.store.keys import Keys
from poolmgr.store.link_secret import LinkSecret
from poolmgr.store.reading.catalog import Catalog
from poolmgr.store.reading.evidence import Evidence
from poolmgr.store.reading.meetings import Meetings
from poolmgr.store.reading.views import Views
from poolmgr.store.submission import Submissions
from poolmgr.store.transcriptions import Transcriptions

MOST_TOKENS: Final = 10_000
"""How many tokens' recent calls are remembered. With more tokens, those that called last are remembered."""


class Service:
    """What all operations work with. `wall`: the calendar's time, epoch seconds. `steady`: a clock for rates,
    seconds.
    """

    def __init__(
        self, redis: Redis, keys: Keys, settings: Settings, wall: Callable[[], float], steady: Callable[[], float]
    ) -> None:
        self.redis = redis
        self.keys = keys
        self.views = Views(redis, keys)
        self.catalog = Catalog(redis, keys)
        self.meetings = Meetings(redis, keys)
        self.evidence = Evidence(redis, keys)
        self.submissions = Submissions(redis, keys, settings.retention.bot_s)
        self.rules = JobRules.of(settings)
        self.capture = settings.capture
        self.conversions = Conversions(settings.capture)
        self.transcription = settings.transcription
        self.transcriptions = Transcriptions(redis, keys)
        self.link_secret = LinkSecret(redis, keys, steady)
        self.scheme = "https" if settings.api.tls_cert else "http"
        self.wall = wall
        self.steady = steady
        self.recording_commands = Rates(10_000)
        self.turns = Turns(steady, MOST_TOKENS)

    @cached_property
    def store(self) -> Store | None:
        """The store of recordings; None: nothing is recorded. Raises: StoreError."""
        return Store(self.capture) if self.capture.store else None


class Call(NamedTuple):
    """A request that passed the gateway. `query`, `body`: of the operation's types. If the operation reads JSON itself,
    `body` is the text.
    """

    service: Service
    token: TokenSettings
    path: Mapping[str, str]
    query: Any
    body: Any
    headers: Mapping[str, str]

    @property
    def by(self) -> By:
        return By(self.token.name, Way.API)


class Answer(NamedTuple):
    """The answer of an operation: an HTTP status and what is sent as its body, a struct or a File."""

    status: int
    body: Any


JSON: Final = "application/json"
PREFIX: Final = "/api/v1"


class File(NamedTuple):
    """The body of an answer that is no JSON. A path is sent from the disk, and any part of it that is asked for."""

    media_type: str
    name: str
    data: bytes | Path


class Says(NamedTuple):
    """One of an operation's answers, as documented. `type`: of its JSON. With another `media_type` it is a file."""

    what: str
    type: Any = Message
    media_type: str = JSON


class Operation(NamedTuple):
    """One operation.

    - `path`: below /api/v1, with {names}.
    - `query`, `body`: structs of the input; None: there is none.
    - `reads_json`: the handler reads the body itself, and `body` only documents it.
    - `headers`: name -> what it is for.
    - `acts`: it changes something although it is a GET.
    - `linked`: a signed link is enough to call it, without a token.
    """

    method: str
    path: str
    name: str
    summary: str
    handle: Callable[[Call], Coroutine[Any, Any, Answer]]
    says: Mapping[int, Says]
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    reads_json: bool = False
    headers: Mapping[str, str] = {}
    acts: bool = False
    linked: bool = False

    @property
    def changes(self) -> bool:
        """Whether a token with the role `read` may not call it."""
        return self.acts or self.method != "GET"


_LET_IN = {
    401: Says("No token was sent, or the header is malformed."),
    403: Says("The token is not known or may only read, or the bot is another token's."),
    429: Says("Too many requests; Retry-After says when to come again."),
    503: Says("Redis is away, or will not do it; Retry-After says when to come again."),
}
_WITH_BODY = {
    408: Says("The body did not come in time."),
    413: Says("The body is too large."),
    415: Says("The body is not sent as application/json."),
}
_CHECKED = {400: Says("Something in the request has to change; the message names it.")}


def answers(operation: Operation) -> dict[int, Says]:
    """All answers of the operation, as documented. Its own descriptions replace the shared ones."""
    answers_by_status = dict(_LET_IN)
    if "{" in operation.path:
        answers_by_status[404] = Says("There is no such thing.")
    if operation.query or operation.body:
        answers_by_status |= _CHECKED
    if operation.body:
        answers_by_status |= _WITH_BODY
    return dict(sorted((answers_by_status | dict(operation.says)).items()))
