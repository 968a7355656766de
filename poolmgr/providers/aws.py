"""An auto scaling group of Amazon EC2. Its VMs are known by the ids of their instances.

Amazon must never choose which VM goes: every instance in service is protected from scale-in, and one is given back by
its own id. Instances that wait in a lifecycle hook are told to the core: one that launches is let into service when its
agent is there, one that terminates goes when it is empty, and is held for as long. What the group says may be behind:
what was asked for lately counts as well.

Calls: https://docs.aws.amazon.com/autoscaling/ec2/APIReference/
"""

import asyncio
from contextlib import suppress
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from common.config.settings import ScalingSettings
from poolmgr.providers.amazon import RefusedError, Service
from poolmgr.providers.asking import Asking, UnsureError
from poolmgr.providers.lately import Lately
from poolmgr.providers.provider import CannotScaleError, ProviderError
from poolmgr.scaling.steps import Group

_PROTECTED_AT_ONCE: Final = 50  # the limit of SetInstanceProtection
_HOLD_EVERY_S: Final = 120.0
"""Between two heartbeats for an instance whose end waits for a call. A hook's own timeout is to be longer."""

_PENDING: Final = ("Pending", "Pending:Wait", "Pending:Proceed")
_IN_SERVICE: Final = "InService"
_RUNNING: Final = (*_PENDING, _IN_SERVICE, "ReplacingRootVolume", "ReplacingRootVolume:Wait",
                   "ReplacingRootVolume:Proceed", "RootVolumeReplaced")  # fmt: skip
_ARRIVING: Final = "Pending:Wait"
_LEAVING: Final = "Terminating:Wait"

# Words of messages whose code is ValidationError, since Amazon has no code of its own for it.
_NOT_THERE: Final = (
    "no active lifecycle action",
    "instance id not found",
    "no managed instance found",
    "is not part of auto scaling group",
    "is not in inservice",
)


class _Instance(msgspec.Struct, rename="pascal"):
    instance_id: str
    lifecycle_state: str
    protected_from_scale_in: bool = False
    weighted_capacity: str = ""


class _Group(msgspec.Struct, rename="pascal"):
    desired_capacity: Annotated[int, Meta(ge=0)]
    max_size: Annotated[int, Meta(ge=0)]
    instances: list[_Instance] = []


class _Groups(msgspec.Struct, rename="pascal"):
    auto_scaling_groups: list[_Group] = []


class _NotThereError(ProviderError):
    """What the question names is not there (any more)."""


class Aws:
    """Opens no connection before it is asked. Raises: CannotScaleError."""

    def __init__(self, settings: ScalingSettings) -> None:
        self._settings = settings
        self._name = settings.aws_group
        self._asking = Asking("Amazon", settings.timeout_s)
        try:
            self._service = Service(
                "autoscaling",
                region=settings.aws_region,
                endpoint_url=settings.aws_endpoint_url,
                timeout_s=settings.timeout_s,
            )
        except ImportError as error:
            raise CannotScaleError(
                f'cannot use scaling.provider = "aws": {error}; install what it needs: pip install'
                " 'poolmgr[autoscaling]'"
            ) from error
        self._lately = Lately()
        self._held = dict[str, float]()  # instances in a hook, and their last heartbeat
        _read_descriptions(self._service.session)

    async def look(self) -> Group:
        async with self._asking.question():
            group = await self._read()
            await self._protect(group)
            await self._hold(group)
        running = [each.instance_id for each in group.instances if each.lifecycle_state in _RUNNING]
        # Of those whose end was asked for the group may be behind: they get no bots any more.
        leaving = [*self._waiting(group), *filter(self._lately.is_ending, running)]
        arriving = [each.instance_id for each in group.instances if each.lifecycle_state == _ARRIVING]
        return Group(
            group.desired_capacity + self._not_counted(group),
            frozenset([*running, *leaving]),
            leaving=tuple(leaving),
            arriving=tuple(arriving) if self._settings.aws_launching_hook else (),
        )

    async def grow(self, to: int) -> None:
        async with self._asking.question():
            group = await self._read()
            to -= self._not_counted(group)
            desired = min(to, group.max_size)
            if desired > self._lately.size(group.desired_capacity):
                with self._lately.raising(desired):
                    await self._ask("set_desired_capacity", DesiredCapacity=desired, HonorCooldown=False)
        if to > group.max_size:
            raise ProviderError(
                f"cannot have {to} VMs: the auto scaling group {self._name} has a MaxSize of {group.max_size}: raise"
                " it, or lower scaling.max_vms"
            )

    async def give_back(self, vm_id: str, left: int) -> None:
        """`left` follows from it: the group's desired capacity is lowered by the one that ends."""
        async with self._asking.question():
            group = await self._read()
            if vm_id not in (each.instance_id for each in group.instances if each.lifecycle_state in _RUNNING):
                return
            if self._lately.is_ending(vm_id):
                # A second request would lower the desired capacity once more.
                raise ProviderError(f"asked Amazon to end {vm_id} before, which is not seen yet; looking again")
            with self._lately.ending(vm_id), suppress(_NotThereError):
                await self._ask(
                    "terminate_instance_in_auto_scaling_group",
                    harmless=False,
                    of_group=False,
                    InstanceId=vm_id,
                    ShouldDecrementDesiredCapacity=True,
                )

    async def release(self, vm_id: str) -> None:
        await self._complete(self._settings.aws_terminating_hook, vm_id)

    async def admit(self, vm_id: str) -> None:
        await self._complete(self._settings.aws_launching_hook, vm_id)

    async def close(self) -> None:
        await self._service.close()

    def _waiting(self, group: _Group) -> list[str]:
        """Instances whose end waits in the hook."""
        if not self._settings.aws_terminating_hook:
            return []
        return [each.instance_id for each in group.instances if each.lifecycle_state == _LEAVING]

    def _not_counted(self, group: _Group) -> int:
        """VMs that Amazon ends by itself: they are there, and its desired capacity does not count them any more."""
        return sum(not self._lately.is_ending(instance_id) for instance_id in self._waiting(group))

    async def _read(self) -> _Group:
        answer = await self._ask("describe_auto_scaling_groups", of_group=False, AutoScalingGroupNames=[self._name])
        try:
            groups = msgspec.convert(answer, _Groups).auto_scaling_groups
        except msgspec.MsgspecError as error:
            raise ProviderError(f"cannot read what Amazon answered: {error}") from error
        if not groups:
            raise ProviderError(f"Amazon has no auto scaling group {self._name} in this region (scaling.aws_group)")
        group = groups[0]
        if any(each.weighted_capacity for each in group.instances):
            raise ProviderError(
                f"the auto scaling group {self._name} weighs its instances: each VM has to count as one"
            )
        return group

    async def _protect(self, group: _Group) -> None:
        """Whoever asks Amazon for fewer VMs, it ends none of those in service."""
        bare = [
            each.instance_id
            for each in group.instances
            if each.lifecycle_state == _IN_SERVICE
            and not (each.protected_from_scale_in or self._lately.is_ending(each.instance_id))
        ]
        for begin in range(0, len(bare), _PROTECTED_AT_ONCE):
            some = bare[begin : begin + _PROTECTED_AT_ONCE]
            await self._ask_of_those_there("set_instance_protection", InstanceIds=some, ProtectedFromScaleIn=True)

    async def _hold(self, group: _Group) -> None:
        """Keep those whose end waits for their calls: a hook that hears nothing ends by itself."""
        now = self._now()
        waiting = [each for each in self._waiting(group) if not self._lately.is_ending(each)]
        self._held = {each: self._held.get(each, -_HOLD_EVERY_S) for each in waiting}
        for instance_id, at in self._held.items():
            if now - at >= _HOLD_EVERY_S:
                await self._ask_of_those_there(
                    "record_lifecycle_action_heartbeat",
                    LifecycleHookName=self._settings.aws_terminating_hook,
                    InstanceId=instance_id,
                )
                self._held[instance_id] = now

    async def _complete(self, hook: str, vm_id: str) -> None:
        if not hook:  # it was never waited for
            return
        async with self._asking.question():
            await self._ask_of_those_there(
                "complete_lifecycle_action",
                LifecycleHookName=hook,
                LifecycleActionResult="CONTINUE",
                InstanceId=vm_id,
            )

    async def _ask_of_those_there(self, action: str, **arguments: Any) -> None:
        """An instance that is not as the group said any more, since its answer was late, is no fault."""
        with suppress(_NotThereError):
            await self._ask(action, **arguments)

    async def _ask(self, action: str, *, harmless: bool = True, of_group: bool = True, **arguments: Any) -> Any:
        if of_group:
            arguments["AutoScalingGroupName"] = self._name
        return await self._asking.tried(lambda: self._ask_once(action, arguments), harmless=harmless)

    async def _ask_once(self, action: str, arguments: dict[str, Any]) -> Any:
        try:
            return await self._service.ask(action, arguments)
        except RefusedError as error:
            said = error.said.lower()
            if error.code == "ValidationError" and any(words in said for words in _NOT_THERE):
                raise _NotThereError(str(error)) from error
            raise
        except UnsureError:
            await self.close()  # so that credentials, too, are looked for anew
            raise

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _read_descriptions(session: Any) -> None:
    """Read the files that describe the calls. They are kept, and reading them later would hold up the loop."""
    loader = session.get_component("data_loader")
    for kind in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("autoscaling", kind)
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
