"""Amazon EC2 Auto Scaling for the tests: moto's server, and in front of it what moto lacks.

moto answers at once, never refuses for throttling, and knows no lifecycle hooks. The front gives other answers when it
is told to, holds what the group says back, hangs, loses answers, and keeps instances in the states of lifecycle hooks,
whose two calls it answers by itself, in the protocol of the API (Query, version 2011-01-01).
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from aiohttp import ClientSession, web

from lab.parts.ports import free_ports
from tests.moto_server import aws_client

HOOK = "drain"
LAUNCH = "agent-is-there"
_SPACE = "http://autoscaling.amazonaws.com/doc/2011-01-01/"


class Amazon:
    """One auto scaling group. `answers`: given to the next calls of an action, in place of the true ones."""

    def __init__(self, moto: str, group: str) -> None:
        self._moto = moto
        self.group = group
        self.url = ""
        self.asked = list[str]()
        self.answers = dict[str, list[web.Response]]()
        self.states = dict[str, str]()  # of instances in a lifecycle hook
        self.hooks = False  # an instance that is to end waits in the hook
        self.hangs = ""  # the action that is not answered
        self.loses = Counter[str]()  # how many answers to an action, which is done, are lost
        self._ends = dict[str, tuple[bytes, dict[str, str]]]()  # requests to end an instance that waits
        self._held: bytes | None = None
        self._http: ClientSession
        self._client: Any  # one for all questions: to make one takes longer than to ask

    async def make(self, desired: int, most: int = 10, *, protected: bool = True) -> None:
        await self._client.create_launch_configuration(
            LaunchConfigurationName=self.group, ImageId="ami-12345678", InstanceType="t3.large"
        )
        await self._client.create_auto_scaling_group(
            AutoScalingGroupName=self.group,
            LaunchConfigurationName=self.group,
            MinSize=0,
            MaxSize=most,
            DesiredCapacity=desired,
            AvailabilityZones=["eu-west-1a"],
            NewInstancesProtectedFromScaleIn=protected,
        )

    async def truth(self) -> tuple[int, dict[str, bool]]:
        """Its desired capacity as moto has it, and its instances: whether they are protected."""
        (group,) = (await self._client.describe_auto_scaling_groups(AutoScalingGroupNames=[self.group]))[
            "AutoScalingGroups"
        ]
        return group["DesiredCapacity"], {
            each["InstanceId"]: each["ProtectedFromScaleIn"] for each in group["Instances"]
        }

    async def instances(self) -> list[str]:
        return [*(await self.truth())[1]]

    async def take(self, instance_id: str) -> None:
        """Amazon wants this one, as after a spot notice: it is replaced, and waits in the hook."""
        desired, _ = await self.truth()
        await self._client.set_desired_capacity(AutoScalingGroupName=self.group, DesiredCapacity=desired + 1)
        self.states[instance_id] = "Terminating:Wait"

    async def hold_back(self) -> None:
        """From now on the group says what it says now."""
        async with aws_client("autoscaling", self.url) as client:
            self._held = b""
            await client.describe_auto_scaling_groups(AutoScalingGroupNames=[self.group])

    def tell_the_truth(self) -> None:
        self._held = None

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        app = web.Application()
        app.router.add_post("/", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        (port,) = free_ports(1)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{port}"
        async with aws_client("autoscaling", self._moto) as self._client, ClientSession() as self._http:
            yield
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        action = form["Action"]
        self.asked.append(action)
        if action == self.hangs:
            await asyncio.sleep(60)
        if waiting := self.answers.get(action):
            return waiting.pop(0)
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type", "X-Amz-Date")}
        answer = await self._answer(action, form, body, headers)
        if self.loses[action]:
            self.loses[action] -= 1
            assert request.transport
            request.transport.close()
        return answer

    async def _answer(self, action: str, form: dict[str, str], body: bytes, headers: dict[str, str]) -> web.Response:
        if action in ("CompleteLifecycleAction", "RecordLifecycleActionHeartbeat"):
            return await self._of_hook(action, form)
        instance_id = form.get("InstanceId", "")
        if action == "TerminateInstanceInAutoScalingGroup" and self.hooks and instance_id not in self.states:
            self.states[instance_id] = "Terminating:Wait"
            self._ends[instance_id] = body, headers
            return answered(action)
        if action == "SetDesiredCapacity":  # moto counts those that wait in the hook, Amazon does not
            body = urlencode({**form, "DesiredCapacity": int(form["DesiredCapacity"]) + self._going}).encode()
        status, raw = await self._forward(body, headers)
        if action == "DescribeAutoScalingGroups" and status == 200:
            raw = self._described(raw)
        return web.Response(status=status, body=raw, content_type="text/xml")

    @property
    def _going(self) -> int:
        return sum(state.startswith("Terminating") for state in self.states.values())

    async def _forward(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        async with self._http.post(self._moto, data=body, headers=headers) as response:
            return response.status, await response.read()

    def _described(self, raw: bytes) -> bytes:
        if self._held:
            return self._held
        text = raw.decode()
        for instance_id, state in self.states.items():
            text = re.sub(
                rf"(<member>(?:(?!</member>).)*<InstanceId>{instance_id}</InstanceId>(?:(?!</member>).)*?"
                r"<LifecycleState>)[^<]*",
                rf"\g<1>{state}",
                text,
                flags=re.DOTALL,
            )
        text = re.sub(r"<DesiredCapacity>(\d+)", lambda found: f"<DesiredCapacity>{int(found[1]) - self._going}", text)
        if self._held == b"":
            self._held = text.encode()
        return text.encode()

    async def _of_hook(self, action: str, form: dict[str, str]) -> web.Response:
        instance_id = form["InstanceId"]
        waits_in = {"Terminating:Wait": HOOK, "Pending:Wait": LAUNCH}.get(self.states.get(instance_id, ""))
        if waits_in != form["LifecycleHookName"]:
            return refused("ValidationError", f"No active Lifecycle Action found with instance ID {instance_id}")
        if action == "CompleteLifecycleAction":
            assert form["LifecycleActionResult"] == "CONTINUE"
            del self.states[instance_id]
            if waits_in == HOOK:
                await self._end(instance_id)
        return answered(action)

    async def _end(self, instance_id: str) -> None:
        if request := self._ends.pop(instance_id, None):
            await self._forward(*request)
            return
        await self._client.terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=True
        )


def answered(action: str) -> web.Response:
    body = f'<{action}Response xmlns="{_SPACE}"><{action}Result/></{action}Response>'
    return web.Response(text=body, content_type="text/xml")


def refused(code: str, message: str, status: int = 400, retry_after: str = "") -> web.Response:
    headers = {"Retry-After": retry_after} if retry_after else {}
    error = f"<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>"
    body = f'<ErrorResponse xmlns="{_SPACE}"><Error>{error}</Error></ErrorResponse>'
    return web.Response(text=body, status=status, headers=headers, content_type="text/xml")


def throttled(retry_after: str = "") -> web.Response:
    return refused("Throttling", "Rate exceeded", retry_after=retry_after)


def described(**group: Any) -> web.Response:
    """A group that moto cannot have."""
    members = "".join(f"<{name}>{value}</{name}>" for name, value in group.items())
    body = (
        f'<DescribeAutoScalingGroupsResponse xmlns="{_SPACE}"><DescribeAutoScalingGroupsResult><AutoScalingGroups>'
        f"<member>{members}</member></AutoScalingGroups></DescribeAutoScalingGroupsResult>"
        "</DescribeAutoScalingGroupsResponse>"
    )
    return web.Response(text=body, content_type="text/xml")


class MetadataServer:
    """IMDSv2 of one instance. `role`: empty: it has none."""

    def __init__(self) -> None:
        self.role = ""

    async def handle(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/latest/")
        if path == "api/token" and request.method == "PUT":
            return web.Response(text="session")
        assert request.headers["X-aws-ec2-metadata-token"] == "session"
        if not self.role:
            return web.Response(status=404)
        if path == "meta-data/iam/security-credentials/":
            return web.Response(text=self.role)
        keys = {"Code": "Success", "AccessKeyId": "of-the-role", "SecretAccessKey": "s", "Token": "t"}
        return web.json_response({**keys, "Expiration": "2099-01-01T00:00:00Z"})


@asynccontextmanager
async def on_an_instance(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[MetadataServer]:
    """No credentials but those of the instance's role, which it does not have yet."""
    metadata = MetadataServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", metadata.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{port}/")
    yield metadata
    await runner.cleanup()
