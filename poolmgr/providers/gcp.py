"""A managed instance group of Google Compute Engine. Its VMs are known by their names and by their numeric ids.

Google has no protection of a single VM: whoever makes a group smaller lets Google choose which VM ends. So its size is
only ever raised, and one VM is given back by its name, which lowers the size by one. A group that Google may make
smaller by itself is refused. What the group says may be behind: what was asked for lately counts as well. An operation
that was begun ends later: how is looked up at the next looks.

Calls: https://cloud.google.com/compute/docs/reference/rest/v1/instanceGroupManagers
"""

import asyncio
import re
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import aiohttp
import msgspec
from msgspec import Meta

from common.config.settings import ScalingSettings
from poolmgr.providers.asking import Asking, BusyError, UnsureError, retry_after
from poolmgr.providers.lately import Lately
from poolmgr.providers.provider import ProviderError
from poolmgr.scaling.steps import Group

_Answer = TypeVar("_Answer")
_API: Final = "https://compute.googleapis.com"
_METADATA_HOST: Final = "metadata.google.internal"
_PROJECT: Final = "project/project-id"
_TOKEN: Final = "instance/service-accounts/default/token"  # noqa: S105 - where it is asked for
_TOKEN_REST_S: Final = 60.0
"""A token is asked for anew so long before its end."""

_MOST_BYTES: Final = 4_000_000
_A_PAGE: Final = 500  # the limit of listManagedInstances
_MOST_PAGES: Final = 20
_MOST_OPERATIONS: Final = 20
_OPERATION_LOST_S: Final = 900.0
"""After so long nobody asks any more how it ended."""

_RUNNING: Final = frozenset({
    "NONE", "CREATING", "CREATING_WITHOUT_RETRIES", "VERIFYING", "REFRESHING", "RESTARTING", "STARTING", "RESUMING",
})  # fmt: skip
"""Current actions of a VM that is there, or is on its way. Any other ends it."""

_RATES: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})


class _Policy(msgspec.Struct, rename="camel"):
    type: str = ""
    instance_redistribution_type: str = ""


class _Status(msgspec.Struct):
    autoscaler: str = ""


class _Manager(msgspec.Struct, rename="camel"):
    target_size: Annotated[int, Meta(ge=0)]
    status: _Status = msgspec.field(default_factory=_Status)
    update_policy: _Policy = msgspec.field(default_factory=_Policy)


class _Vm(msgspec.Struct, rename="camel"):
    """`instance`: its URL, which ends with its name. Without `id` it is not made yet."""

    instance: str
    id: str = ""
    current_action: str = "NONE"

    @property
    def names(self) -> list[str]:
        return [name for name in (self.instance.rpartition("/")[2], self.id) if name]


class _Vms(msgspec.Struct, rename="camel"):
    managed_instances: list[_Vm] = []
    next_page_token: str = ""


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Error] = []


class _Operation(msgspec.Struct, rename="camel"):
    name: str
    status: str
    error: _Errors | None = None


class _Begun(NamedTuple):
    """An operation that has not ended yet. `what`: what was asked for."""

    what: str
    at: float


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float


class _NotThereError(ProviderError):
    pass


class Gcp:
    """`environment`: may name another metadata server, as Google's own libraries have it (GCE_METADATA_HOST)."""

    def __init__(self, settings: ScalingSettings, environment: Mapping[str, str]) -> None:
        self._asking = Asking("Google", settings.timeout_s)
        self._name = settings.gcp_group
        self._project = settings.gcp_project
        self._is_regional = not re.search(r"-[a-z]\Z", settings.gcp_location)
        self._place = f"{'regions' if self._is_regional else 'zones'}/{settings.gcp_location}"
        self._api = settings.gcp_api_url or _API
        self._metadata = f"http://{environment.get('GCE_METADATA_HOST') or _METADATA_HOST}/computeMetadata/v1"
        self._token = ("", 0.0)  # and until when it is used
        self._lately = Lately()
        self._begun = dict[str, _Begun]()
        self._session: aiohttp.ClientSession | None = None

    async def look(self) -> Group:
        async with self._asking.question():
            manager = await self._manager()
            vms = await self._vms()
            await self._ended()
        names = [name for vm in vms if vm.current_action in _RUNNING for name in vm.names]
        # Of those whose end was asked for the group may be behind: they get no bots any more.
        return Group(manager.target_size, frozenset(names), leaving=tuple(filter(self._lately.is_ending, names)))

    async def grow(self, to: int) -> None:
        """A number that is lower than the group's would have Google choose VMs and end them."""
        async with self._asking.question():
            manager = await self._manager()
            if to > self._lately.size(manager.target_size):
                with self._lately.raising(to):
                    await self._change(f"{to} VMs", "resize", {"size": str(to)})

    async def give_back(self, vm_id: str, left: int) -> None:
        """`left` follows from it: the group's size is lowered by the one that ends."""
        async with self._asking.question():
            await self._manager()
            found = [vm for vm in await self._vms() if vm_id in vm.names and vm.current_action in _RUNNING]
            if found:
                body = {"instances": [found[0].instance], "skipInstancesOnValidationError": True}
                with self._lately.ending(vm_id):
                    await self._change(f"the end of {vm_id}", "deleteInstances", {}, body)

    async def release(self, vm_id: str) -> None:
        """Google waits for nobody: a VM that is to go is told so by its system, and its agent drains."""

    async def admit(self, vm_id: str) -> None:
        """Google waits for nobody: a VM is in service when its agent says so."""

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def _manager(self) -> _Manager:
        manager = await self._get(f"{self._place}/instanceGroupManagers/{self._name}", _Manager)
        policy = manager.update_policy
        if manager.status.autoscaler:
            raise ProviderError(f"the group {self._name} has an autoscaler, which ends VMs with calls: delete it")
        if policy.type == "PROACTIVE":
            raise ProviderError(
                f"the group {self._name} replaces VMs by itself, also those with calls: set its update policy to"
                " opportunistic"
            )
        if self._is_regional and policy.instance_redistribution_type != "NONE":
            raise ProviderError(
                f"the group {self._name} moves VMs between zones by itself, also those with calls: set its instance"
                " redistribution type to none"
            )
        return manager

    async def _vms(self) -> list[_Vm]:
        found = list[_Vm]()
        query = {"maxResults": str(_A_PAGE)}
        for _ in range(_MOST_PAGES):
            path = f"{self._place}/instanceGroupManagers/{self._name}/listManagedInstances"
            page = await self._post(path, query, None, _Vms)
            found += page.managed_instances
            if not page.next_page_token:
                return found
            query["pageToken"] = page.next_page_token
        raise ProviderError(f"the group {self._name} has more than {_A_PAGE * _MOST_PAGES:,} VMs")

    async def _change(self, what: str, verb: str, query: dict[str, str], body: dict[str, Any] | None = None) -> None:
        """Begin an operation. By its id Google knows a request that comes again."""
        query = {**query, "requestId": str(uuid.uuid4())}
        path = f"{self._place}/instanceGroupManagers/{self._name}/{verb}"
        operation = await self._post(path, query, body, _Operation)
        self._begun = dict([*self._begun.items()][1 - _MOST_OPERATIONS :])
        self._begun[operation.name] = _Begun(what, self._now())
        self._settle(operation)

    async def _ended(self) -> None:
        """Look up how operations ended. Raises: ProviderError, once for each that failed."""
        for name, begun in list(self._begun.items()):
            if self._now() - begun.at > _OPERATION_LOST_S:
                del self._begun[name]
                continue
            try:
                self._settle(await self._get(f"{self._place}/operations/{name}", _Operation))
            except _NotThereError:
                self._begun.pop(name, None)

    def _settle(self, operation: _Operation) -> None:
        if operation.status != "DONE":
            return
        begun = self._begun.pop(operation.name)
        if operation.error and operation.error.errors:
            error = operation.error.errors[0]
            raise ProviderError(
                f"Google could not do what was asked, {begun.what}: {error.code}: {error.message[:300]}"
            )

    async def _get(self, path: str, kind: type[_Answer]) -> _Answer:
        return await self._asking.tried(lambda: self._ask("GET", path, {}, None, kind))

    async def _post(self, path: str, query: dict[str, str], body: Any, kind: type[_Answer]) -> _Answer:
        return await self._asking.tried(lambda: self._ask("POST", path, query, body, kind))

    async def _ask(self, method: str, path: str, query: dict[str, str], body: Any, kind: type[_Answer]) -> _Answer:
        token = await self._bearer()
        self._project = self._project or (await self._of_metadata(_PROJECT)).decode().strip()
        url = f"{self._api}/compute/v1/projects/{self._project}/{path}"
        status, headers, raw = await self._send(method, url, {"Authorization": f"Bearer {token}"}, query, body)
        if status != 200:
            raise self._refusal(status, headers, raw)
        return _decoded(raw, kind)

    async def _bearer(self) -> str:
        token, until = self._token
        if self._now() >= until:
            answer = _decoded(await self._of_metadata(_TOKEN), _Token)
            token = answer.access_token
            self._token = (token, self._now() + answer.expires_in - _TOKEN_REST_S)
        return token

    async def _of_metadata(self, what: str) -> bytes:
        """What the VM's own metadata server says. It has no error that a refusal of Google's could be taken for."""
        try:
            status, _, raw = await self._send(
                "GET", f"{self._metadata}/{what}", {"Metadata-Flavor": "Google"}, {}, None
            )
        except UnsureError as error:
            raise UnsureError(f"the metadata server, which has this VM's token: {error}") from error
        if status == 200:
            return raw
        said = f"the metadata server answered {status} to {what}"
        if status == 404:
            raise ProviderError(f"{said}: this VM has no service account")
        raise UnsureError(said)

    async def _send(
        self, method: str, url: str, headers: dict[str, str], query: dict[str, str], body: Any
    ) -> tuple[int, Mapping[str, str], bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        data = None if body is None else msgspec.json.encode(body)
        if data:
            headers = {**headers, "Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, url, params=query, data=data, headers=headers, allow_redirects=False
            ) as response:
                raw = bytearray()
                async for part in response.content.iter_chunked(65536):
                    raw += part
                    if len(raw) > _MOST_BYTES:
                        raise ProviderError(f"Google answered with more than {_MOST_BYTES:,} bytes")
                return response.status, response.headers, bytes(raw)
        except (aiohttp.ClientError, OSError) as error:
            raise UnsureError(f"cannot ask Google: {type(error).__name__}: {error}"[:300]) from error

    def _refusal(self, status: int, headers: Mapping[str, str], raw: bytes) -> ProviderError:
        try:
            error = msgspec.json.decode(raw, type=_Refused).error
        except msgspec.MsgspecError:
            error = _Refusal()
        reasons = {each.reason for each in error.errors}
        said = f"Google answered {status}: {error.message[:300]}"
        if status in (429, 503) or (status == 403 and reasons & _RATES):
            return BusyError(said, retry_after_s=retry_after(headers.get("Retry-After")))
        if status == 401:
            self._token = ("", 0.0)
            return UnsureError(said)  # so that it is asked once more, with a new token
        if status >= 500:
            return UnsureError(said)
        return (_NotThereError if status == 404 else ProviderError)(said)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


class _Reason(msgspec.Struct):
    reason: str = ""


class _Refusal(msgspec.Struct):
    message: str = ""
    errors: list[_Reason] = []


class _Refused(msgspec.Struct):
    error: _Refusal = msgspec.field(default_factory=_Refusal)


def _decoded(raw: bytes, kind: type[_Answer]) -> _Answer:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.MsgspecError as error:
        raise ProviderError(f"cannot read what Google answered: {error}") from error
