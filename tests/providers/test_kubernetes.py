"""The pods of a StatefulSet: against a server that keeps versions as Kubernetes' API does, and that also refuses, is
late, or answers nonsense.
"""

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from common.config.settings import ScalingSettings
from lab.parts.ports import free_ports
from poolmgr.providers.choice import provider_of
from poolmgr.providers.kubernetes import Kubernetes
from poolmgr.providers.provider import CannotScaleError, ProviderError
from poolmgr.scaling.steps import Group
from tests.waiting import PATIENCE_S

PATH = "/apis/apps/v1/namespaces/bots/statefulsets/poolmgr-worker/scale"


class Api:
    """The subresource `scale` of one StatefulSet. `answers`: given instead of the next true ones."""

    def __init__(self) -> None:
        self.replicas = 3
        self.version = 100
        self.answers = list[web.Response]()
        self.asked = list[tuple[str, str]]()
        self.late_by = 0.0
        self.also = 0  # somebody else's changes between a read and a patch

    def scale(self) -> dict[str, Any]:
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {"name": "poolmgr-worker", "resourceVersion": str(self.version)},
            "spec": {"replicas": self.replicas} if self.replicas else {},  # Kubernetes leaves out what is zero
            "status": {"replicas": self.replicas},
        }

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.headers["Authorization"]))
        await asyncio.sleep(self.late_by)
        if self.answers:
            return self.answers.pop(0)
        answer = web.json_response(self.scale())
        if request.method == "PATCH":
            assert request.content_type == "application/merge-patch+json"
            patch = json.loads(await request.read())
            self.version += self.also
            if patch["metadata"]["resourceVersion"] != str(self.version):
                return refusal(409, "the object has been modified; please apply your changes to the latest version")
            self.replicas = patch["spec"]["replicas"]
            self.version += 1
            answer = web.json_response(self.scale())
        return answer


def refusal(status: int, message: str, **headers: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "message": message, "code": status}
    return web.json_response(body, status=status, headers=headers)


@pytest.fixture
async def api() -> AsyncGenerator[Api]:
    api = Api()
    app = web.Application()
    app.router.add_route("*", PATH, api.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    api.__dict__["url"] = f"http://127.0.0.1:{port}"
    yield api
    await runner.cleanup()


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "namespace").write_text("bots")
    return tmp_path


def of(api: Api, account: Path, timeout_s: float) -> Kubernetes:
    settings = ScalingSettings(provider="kubernetes", kubernetes_api_url=api.__dict__["url"], timeout_s=timeout_s)
    return Kubernetes(settings, {}, account)


@pytest.fixture
async def pods(api: Api, account: Path) -> AsyncGenerator[Kubernetes]:
    pods = of(api, account, PATIENCE_S)
    yield pods
    await pods.close()


async def test_the_pods_are_named_by_their_number_and_the_last_goes_first(api: Api, pods: Kubernetes) -> None:
    names = frozenset({"poolmgr-worker-0", "poolmgr-worker-1", "poolmgr-worker-2"})
    assert await pods.look() == Group(3, names, ends_last=True)
    api.replicas = 0
    assert await pods.look() == Group(0, frozenset(), ends_last=True)


async def test_more_are_asked_for_and_never_fewer(api: Api, pods: Kubernetes) -> None:
    await pods.grow(5)
    await pods.grow(5)
    await pods.grow(4)
    assert (api.replicas, [method for method, _ in api.asked].count("PATCH")) == (5, 1)


async def test_the_last_pod_is_given_back_once(api: Api, pods: Kubernetes) -> None:
    await pods.give_back("poolmgr-worker-2", 2)
    assert api.replicas == 2
    await pods.give_back("poolmgr-worker-2", 2)
    await pods.release("poolmgr-worker-2")
    await pods.admit("poolmgr-worker-2")
    assert api.replicas == 2


@pytest.mark.parametrize(
    ("vm_id", "left"), [("poolmgr-worker-1", 2), ("poolmgr-worker-02", 2), ("other-2", 2), ("vm", 2)]
)
async def test_another_than_the_last_is_never_given_back(vm_id: str, left: int, api: Api, pods: Kubernetes) -> None:
    with pytest.raises(ProviderError, match="is not the last of 3 pods"):
        await pods.give_back(vm_id, left)
    assert api.asked == []


async def test_a_set_that_somebody_else_made_larger_keeps_its_pods(api: Api, pods: Kubernetes) -> None:
    api.replicas = 4
    with pytest.raises(ProviderError, match="has 4 pods by now"):
        await pods.give_back("poolmgr-worker-2", 2)
    assert api.replicas == 4


async def test_a_set_that_changes_between_reading_and_writing_is_left_as_it_is(api: Api, pods: Kubernetes) -> None:
    api.also = 1
    with pytest.raises(ProviderError, match="Kubernetes answered 409: the object has been modified"):
        await pods.give_back("poolmgr-worker-2", 2)
    assert api.replicas == 3


async def test_a_late_answer_lowers_nothing(api: Api, pods: Kubernetes) -> None:
    """What was read is older than what is there: its version is, too."""
    stale = api.scale()
    await pods.grow(6)
    api.answers = [web.json_response(stale)]
    with pytest.raises(ProviderError, match="409"):
        await pods.grow(4)
    assert api.replicas == 6


@pytest.mark.parametrize(
    ("answer", "said", "retry_after_s"),
    [
        (refusal(429, "too many requests", **{"Retry-After": "17"}), "Kubernetes answered 429: too many requests", 17),
        (refusal(429, "later", **{"Retry-After": "soon"}), "Kubernetes answered 429: later", 0),
        (refusal(503, "away", **{"Retry-After": "999999"}), "Kubernetes answered 503: away", 3600),
        (refusal(403, "statefulsets/scale is forbidden"), "answered 403: statefulsets/scale is forbidden", 0),
        (web.Response(status=502, text="<html>"), "Kubernetes answered 502: ", 0),
        (web.Response(status=307, headers={"Location": "https://elsewhere.example/"}), "Kubernetes answered 307: ", 0),
        (web.Response(text="<html>"), "cannot read what Kubernetes answered", 0),
        (web.json_response({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": -1}}), "cannot read what", 0),
    ],
)
async def test_what_is_refused_or_nonsense_is_said(
    answer: web.Response, said: str, retry_after_s: float, api: Api, pods: Kubernetes
) -> None:
    api.answers = [answer]
    with pytest.raises(ProviderError) as caught:
        await pods.look()
    assert said in str(caught.value)
    assert caught.value.retry_after_s == retry_after_s
    assert (await pods.look()).wanted == 3


async def test_who_does_not_answer_is_not_waited_for(api: Api, account: Path) -> None:
    pods = of(api, account, 1.0)
    api.late_by = 3
    with pytest.raises(ProviderError, match="did not answer within 1 s"):
        await pods.look()
    await pods.close()


async def test_the_token_is_read_anew_for_each_question(api: Api, pods: Kubernetes, account: Path) -> None:
    await pods.look()
    (account / "token").write_text("second")
    await pods.look()
    assert [token for _, token in api.asked] == ["Bearer first", "Bearer second"]
    (account / "token").unlink()
    with pytest.raises(ProviderError, match="cannot ask Kubernetes: FileNotFoundError"):
        await pods.look()


async def test_nobody_there_is_a_fault_like_others(account: Path) -> None:
    (port,) = free_ports(1)
    settings = ScalingSettings(kubernetes_api_url=f"http://127.0.0.1:{port}", kubernetes_namespace="bots")
    pods = Kubernetes(settings, {}, account)
    with pytest.raises(ProviderError, match="cannot ask Kubernetes: ClientConnectorError"):
        await pods.look()
    await pods.close()


def test_outside_of_a_pod_it_says_what_is_missing(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    settings = ScalingSettings(provider="kubernetes", kubernetes_namespace="bots")
    with pytest.raises(CannotScaleError, match=r"automountServiceAccountToken"):
        provider_of(settings)
    inside = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(CannotScaleError, match="No such file"):  # no certificate
        Kubernetes(settings, inside, account)
    with pytest.raises(CannotScaleError, match="No such file"):
        Kubernetes(msgspec.structs.replace(settings, kubernetes_namespace=""), inside, account / "nowhere")


async def test_in_a_pod_the_api_is_known_by_the_certificate_of_its_account(api: Api, account: Path) -> None:
    cert, key = account / "ca.crt", account / "key.pem"
    command = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    names = ("-keyout", key, "-out", cert, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run([*command, *names], check=True, capture_output=True)  # noqa: ASYNC221 - a moment
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cert, key)
    app = web.Application()
    app.router.add_route("*", PATH, api.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    inside = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
    pods = Kubernetes(ScalingSettings(), inside, account)
    assert (await pods.look()).wanted == 3
    await pods.close()
    strangers = Kubernetes(ScalingSettings(kubernetes_api_url=f"https://localhost:{port}"), {}, account)
    with pytest.raises(ProviderError, match="cannot ask Kubernetes: ClientConnectorCertificateError"):
        await strangers.look()  # its certificate has another name
    await strangers.close()
    await runner.cleanup()


def test_none_is_nobody() -> None:
    assert provider_of(ScalingSettings()) is None
