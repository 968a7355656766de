"""The pods of a StatefulSet as VMs: reads and patches the number of its replicas by Kubernetes' API.

A StatefulSet ends the pod with the highest number and no other. So that one is drained first, and its number of
replicas is lowered only while it still is the last: each patch names the version that was read, and the API refuses it
(409) when somebody changed the set meanwhile. Nothing but the subresource `scale` is read or written.
"""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import aiohttp
import msgspec
from msgspec import Meta

from common.config.settings import ScalingSettings
from poolmgr.providers.provider import CannotScaleError, ProviderError
from poolmgr.scaling.steps import Group

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts a pod's token, its namespace and the certificate of the API."""

_MOST_BYTES: Final = 1_000_000
_MERGE: Final = "application/merge-patch+json"
_MOST_RETRY_AFTER_S: Final = 3600.0


class _Metadata(msgspec.Struct):
    resourceVersion: str  # noqa: N815 - as Kubernetes writes it


class _Spec(msgspec.Struct):
    replicas: Annotated[int, Meta(ge=0)] = 0


class _Scale(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)


class Kubernetes:
    """`environment`: where a pod finds the address of the API. Raises: CannotScaleError."""

    def __init__(
        self,
        settings: ScalingSettings,
        environment: Mapping[str, str],
        account: Path = _ACCOUNT,
    ) -> None:
        self._name = settings.kubernetes_statefulset
        self._token = account / "token"
        self._timeout_s = settings.timeout_s
        base, self._tls = settings.kubernetes_api_url, None
        try:
            namespace = settings.kubernetes_namespace or (account / "namespace").read_text().strip()
            if not base:
                host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
                base = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
            if base.startswith("https:"):
                self._tls = ssl.create_default_context(cafile=account / "ca.crt")
        except (OSError, KeyError, ssl.SSLError) as error:
            raise CannotScaleError(
                f'cannot find Kubernetes\' API: {error}; scaling.provider = "kubernetes" needs a pod with a service'
                " account whose token is mounted (automountServiceAccountToken)"
            ) from error
        self._url = f"{base}/apis/apps/v1/namespaces/{namespace}/statefulsets/{self._name}/scale"
        self._session: aiohttp.ClientSession | None = None

    async def look(self) -> Group:
        replicas = (await self._read()).spec.replicas
        return Group(replicas, frozenset(f"{self._name}-{number}" for number in range(replicas)), ends_last=True)

    async def grow(self, to: int) -> None:
        scale = await self._read()
        if scale.spec.replicas < to:
            await self._set(to, scale)

    async def give_back(self, vm_id: str, left: int) -> None:
        """`left` is the pod's own number: the pod has to be the last one. A pod that is gone already is no fault."""
        name, _, number = vm_id.rpartition("-")
        if name != self._name or number != str(left):
            raise ProviderError(f"cannot end {vm_id}: it is not the last of {left + 1} pods of {self._name}")
        scale = await self._read()
        if scale.spec.replicas > left + 1:
            raise ProviderError(f"cannot end {vm_id}: {self._name} has {scale.spec.replicas} pods by now")
        if scale.spec.replicas == left + 1:
            await self._set(left, scale)

    async def release(self, vm_id: str) -> None:
        """Does nothing: Kubernetes waits for no release. It sends SIGTERM to a pod that is to go, and the pod's agent
        drains.
        """

    async def admit(self, vm_id: str) -> None:
        """Kubernetes waits for nobody: a pod is in service when its agent says so."""

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def _read(self) -> _Scale:
        return await self._ask("GET")

    async def _set(self, replicas: int, read: _Scale) -> None:
        patch = {"metadata": {"resourceVersion": read.metadata.resourceVersion}, "spec": {"replicas": replicas}}
        await self._ask("PATCH", data=msgspec.json.encode(patch))

    async def _ask(self, method: str, **body: Any) -> _Scale:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            # Kubernetes replaces the token every hour, so it is read for each call.
            token = (await asyncio.to_thread(self._token.read_text)).strip()
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "Content-Type": _MERGE}
            timeout = aiohttp.ClientTimeout(total=self._timeout_s)
            async with self._session.request(
                method,
                self._url,
                headers=headers,
                timeout=timeout,
                ssl=self._tls or True,
                allow_redirects=False,
                **body,
            ) as response:
                raw = await response.content.read(_MOST_BYTES)
                if response.status != 200:
                    raise _refusal(response.status, response.headers, raw)
        except TimeoutError as error:
            raise ProviderError(f"Kubernetes did not answer within {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ProviderError(f"cannot ask Kubernetes: {type(error).__name__}: {error}"[:300]) from error
        try:
            return msgspec.json.decode(raw, type=_Scale)
        except msgspec.MsgspecError as error:
            raise ProviderError(f"cannot read what Kubernetes answered: {error}") from error


class _Status(msgspec.Struct):
    message: str = ""


def _refusal(status: int, headers: Mapping[str, str], raw: bytes) -> ProviderError:
    try:
        message = msgspec.json.decode(raw, type=_Status).message
    except msgspec.MsgspecError:
        message = ""
    try:
        retry_after_s = min(max(0.0, float(headers.get("Retry-After", "0"))), _MOST_RETRY_AFTER_S)
    except ValueError:
        retry_after_s = 0.0
    return ProviderError(f"Kubernetes answered {status}: {message[:300]}", retry_after_s=retry_after_s)
