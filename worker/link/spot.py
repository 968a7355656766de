"""Asks a cloud's metadata server whether this VM is to be taken away.

Amazon: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html and
.../rebalance-recommendations.html, with the tokens of IMDSv2

Google: https://cloud.google.com/compute/docs/instances/create-use-spot#detect-preemption

Azure: https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events

None of these clouds was asked: the code follows their documentation.
"""

import time
from abc import ABC, abstractmethod
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Annotated, Final, NamedTuple, Self, TypeVar

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout

from common.errors import AgentError
from worker.decide.notice import Notice

T = TypeVar("T")

SERVER: Final = "http://169.254.169.254"  # the same for all three; Google's name for it would need a name server
ANSWER_S: Final = 5.0
MOST_BYTES: Final = 256 * 1024
_TOKEN_LIVES_S: Final = 21600  # the longest life of a token that IMDSv2 gives
_GOOGLE_GIVES_S: Final = 30.0
# without Freeze, which is a pause of seconds
_TAKES_AWAY: Final = frozenset({"Preempt", "Terminate", "Redeploy", "Reboot"})


class UnknownError(AgentError):
    """The metadata server did not say whether this VM stays: it cannot be reached, or its answer cannot be read."""


class _Answer(NamedTuple):
    status: int
    flavour: str
    body: bytes


class Cloud(ABC):
    """An async context manager, in which `ask` may be called again and again. Uses no proxy, follows no redirect."""

    def __init__(self, server: str) -> None:
        self._server = server.rstrip("/")
        self._http: ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = ClientSession(timeout=ClientTimeout(total=ANSWER_S))
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._http
        await self._http.close()

    @abstractmethod
    async def ask(self) -> Notice | None:
        """The notice with the earliest time; None: the VM stays. Raises: UnknownError."""

    async def _get(self, path: str, headers: dict[str, str], *, method: str = "GET") -> _Answer:
        assert self._http
        try:
            async with self._http.request(
                method, f"{self._server}{path}", headers=headers, allow_redirects=False
            ) as answer:
                body = await answer.content.read(MOST_BYTES)
                return _Answer(answer.status, answer.headers.get("Metadata-Flavor", ""), body)
        except (ClientError, TimeoutError, OSError) as error:
            raise UnknownError(f"{path}: {type(error).__name__}") from error


class _Action(msgspec.Struct):
    action: str
    time: Annotated[datetime, msgspec.Meta(tz=True)]


class _Recommendation(msgspec.Struct, rename="camel"):
    notice_time: Annotated[datetime, msgspec.Meta(tz=True)]


class Amazon(Cloud):
    """An interruption notice comes two minutes ahead. A recommendation to rebalance may come earlier, and names no
    time.
    """

    _token = ""

    async def ask(self) -> Notice | None:
        if body := await self._item("spot/instance-action"):
            action = _read(body, _Action)
            return Notice(action.action, action.time.timestamp())
        if body := await self._item("events/recommendations/rebalance"):
            _read(body, _Recommendation)
            return Notice("rebalance")
        return None

    async def _item(self, name: str) -> bytes:
        """The answer's text; empty: there is no notice. If the token is refused, a new one is fetched once."""
        path = f"/latest/meta-data/{name}"
        had_token = bool(self._token)
        answer = await self._get(path, {"X-aws-ec2-metadata-token": self._token or await self._new_token()})
        if answer.status == 401 and had_token:
            answer = await self._get(path, {"X-aws-ec2-metadata-token": await self._new_token()})
        if answer.status == 404:
            return b""
        return _expect(path, answer)

    async def _new_token(self) -> str:
        self._token = ""
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_LIVES_S)}
        token = _expect("/latest/api/token", await self._get("/latest/api/token", headers, method="PUT"))
        if not token.isascii() or not token.decode().isprintable():
            raise UnknownError("/latest/api/token: no token")
        self._token = token.decode()
        return self._token


class Google(Cloud):
    """A VM that is preempted has 30 seconds from the first time that the server says so."""

    _since: float | None = None

    async def ask(self) -> Notice | None:
        path = "/computeMetadata/v1/instance/preempted"
        answer = await self._get(path, {"Metadata-Flavor": "Google"})
        body = _expect(path, answer).strip()
        if answer.flavour != "Google" or body not in (b"TRUE", b"FALSE"):  # another server answers at this address
            raise UnknownError(f"{path}: {body[:40]!r}")
        if body == b"FALSE":
            self._since = None
            return None
        self._since = self._since or time.time()
        return Notice("preempted", self._since + _GOOGLE_GIVES_S)


class _Event(msgspec.Struct, rename="pascal"):
    event_type: str
    resources: list[str] = []
    not_before: str = ""  # empty once it has begun


class _Events(msgspec.Struct, rename="pascal"):
    events: list[_Event]


class Azure(Cloud):
    """The list has the events of all VMs of a scale set; those that name this VM count. The first answer may take two
    minutes, so the question is repeated.
    """

    _name = ""

    async def ask(self) -> Notice | None:
        headers = {"Metadata": "true"}
        if not self._name:
            path = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
            self._name = _expect(path, await self._get(path, headers)).decode(errors="replace").strip()
        path = "/metadata/scheduledevents?api-version=2020-07-01"
        events = _read(_expect(path, await self._get(path, headers)), _Events).events
        ours = [event for event in events if event.event_type in _TAKES_AWAY and self._name in event.resources]
        notices = [Notice(event.event_type, _begins(event.not_before)) for event in ours]
        return min(notices, key=lambda notice: notice.at, default=None)


def _begins(not_before: str) -> float:
    """The time in epoch seconds. A time that cannot be read counts as now, because the VM certainly goes."""
    try:
        return parsedate_to_datetime(not_before).timestamp()
    except ValueError:
        return time.time()


def cloud(name: str, server: str = "") -> Cloud:
    """`name`: aws, gcp or azure. `server`: the address of its metadata server; empty: the usual one."""
    kinds: dict[str, type[Cloud]] = {"aws": Amazon, "gcp": Google, "azure": Azure}
    return kinds[name](server or SERVER)


def _expect(path: str, answer: _Answer) -> bytes:
    if answer.status != 200 or not answer.body:
        raise UnknownError(f"{path}: HTTP {answer.status}")
    return answer.body


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:  # errors of JSON, and of its content
        raise UnknownError(f"an answer that is none: {error}") from error
