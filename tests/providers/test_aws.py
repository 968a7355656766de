"""The auto scaling group: against moto's server, with a front that refuses, hangs, loses answers and is late."""

import importlib
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from common.config.settings import ScalingSettings
from lab.parts.ports import free_ports
from poolmgr.providers.aws import Aws
from poolmgr.providers.choice import provider_of
from poolmgr.providers.provider import CannotScaleError, ProviderError
from poolmgr.scaling.steps import Group
from tests.providers.amazon import HOOK, LAUNCH, Amazon, described, on_an_instance, refused, throttled

DESCRIBE, SET = "DescribeAutoScalingGroups", "SetDesiredCapacity"
END, PROTECT = "TerminateInstanceInAutoScalingGroup", "SetInstanceProtection"
COMPLETE, HOLD = "CompleteLifecycleAction", "RecordLifecycleActionHeartbeat"


@pytest.fixture
async def amazon(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncGenerator[Amazon]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    amazon = Amazon(moto, f"bots-{time.monotonic_ns()}")
    async with amazon.serving():
        yield amazon


@pytest.fixture
async def aws(amazon: Amazon) -> AsyncGenerator[Aws]:
    await amazon.make(2)
    aws = provider(amazon)
    yield aws
    await aws.close()


def provider(amazon: Amazon, **settings: Any) -> Aws:
    chosen = ScalingSettings(
        provider="aws",
        aws_group=amazon.group,
        aws_region="eu-west-1",
        aws_endpoint_url=amazon.url,
        aws_terminating_hook=HOOK,
        aws_launching_hook=LAUNCH,
        timeout_s=16,  # a machine that runs tests may be busy; less than a pause that is asked for (17 s)
    )
    made = provider_of(msgspec.structs.replace(chosen, **settings))
    assert isinstance(made, Aws)
    return made


# What it has, and more of it


async def test_the_instances_are_the_vms(amazon: Amazon, aws: Aws) -> None:
    assert await aws.look() == Group(2, frozenset(await amazon.instances()))
    assert amazon.asked == [DESCRIBE]


async def test_more_are_asked_for_and_never_fewer(amazon: Amazon, aws: Aws) -> None:
    await aws.grow(4)
    await aws.grow(4)
    await aws.grow(3)
    assert (await amazon.truth())[0] == 4
    assert amazon.asked.count(SET) == 1


async def test_a_late_answer_lowers_nothing(amazon: Amazon, aws: Aws) -> None:
    await amazon.hold_back()
    await aws.grow(5)
    assert (await aws.look()).wanted == 2
    await aws.grow(4)
    assert (await amazon.truth())[0] == 5
    await aws.grow(6)
    assert (await amazon.truth())[0] == 6


async def test_the_group_s_own_ceiling_is_told(amazon: Amazon) -> None:
    await amazon.make(1, most=3)
    aws = provider(amazon)
    with pytest.raises(
        ProviderError, match=r"cannot have 7 VMs: .* a MaxSize of 3: raise it, or lower scaling.max_vms"
    ):
        await aws.grow(7)
    assert (await amazon.truth())[0] == 3
    await aws.close()


async def test_what_was_refused_is_asked_for_again(amazon: Amazon, aws: Aws) -> None:
    amazon.answers = {SET: [refused("ScalingActivityInProgress", "there are scaling activities in progress")]}
    with pytest.raises(ProviderError, match="Amazon refused set_desired_capacity: ScalingActivityInProgress: there"):
        await aws.grow(3)
    await aws.grow(3)
    assert (await amazon.truth())[0] == 3


# Scale-in protection


async def test_whoever_is_in_service_is_protected(amazon: Amazon) -> None:
    await amazon.make(51, most=60, protected=False)
    aws = provider(amazon)
    await aws.look()
    _, instances = await amazon.truth()
    assert (len(instances), all(instances.values())) == (51, True)
    assert amazon.asked == [DESCRIBE, PROTECT, PROTECT]  # fifty at once
    await aws.close()


async def test_one_that_is_gone_by_now_is_no_fault(amazon: Amazon) -> None:
    await amazon.make(1, protected=False)
    aws = provider(amazon)
    (instance,) = await amazon.instances()
    said = f"The instance {instance} is not in InService or EnteringStandby or Standby."
    amazon.answers = {PROTECT: [refused("ValidationError", said)]}
    assert (await aws.look()).wanted == 1
    await aws.close()


# Giving one back


async def test_exactly_the_one_that_is_named_ends_and_no_other_comes(amazon: Amazon, aws: Aws) -> None:
    first, second = await amazon.instances()
    await aws.give_back(second, 1)
    assert await amazon.truth() == (1, {first: True})
    await aws.give_back(second, 1)
    assert amazon.asked.count(END) == 1


async def test_an_answer_that_is_lost_ends_none_twice(amazon: Amazon, aws: Aws) -> None:
    first, second = await amazon.instances()
    await amazon.hold_back()
    amazon.loses[END] = 1
    with pytest.raises(ProviderError, match="cannot ask Amazon: "):
        await aws.give_back(second, 1)
    assert await aws.look() == Group(2, frozenset({first, second}), leaving=(second,))  # it is not taken back
    # The group still says that it is there: were it ended again, the desired capacity would be lowered again.
    with pytest.raises(ProviderError, match=f"asked Amazon to end {second} before, which is not seen yet"):
        await aws.give_back(second, 1)
    amazon.tell_the_truth()
    await aws.give_back(second, 1)
    assert await amazon.truth() == (1, {first: True})
    assert amazon.asked.count(END) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refused("ScalingActivityInProgress", "wait"), "ScalingActivityInProgress: wait"),
        pytest.param(
            refused("ValidationError", "Currently, desiredSize equals minSize (2)."),
            "equals minSize",
            marks=pytest.mark.long,
        ),
        pytest.param(throttled("30"), "Throttling: Rate exceeded", marks=pytest.mark.long),
    ],
)
async def test_an_end_that_was_refused_is_asked_for_again(
    answer: web.Response, said: str, amazon: Amazon, aws: Aws
) -> None:
    first, second = await amazon.instances()
    amazon.answers = {END: [answer]}
    with pytest.raises(ProviderError, match=said):
        await aws.give_back(first, 1)
    await aws.give_back(first, 1)
    assert await amazon.truth() == (1, {second: True})


async def test_one_that_amazon_knows_no_more_is_gone(amazon: Amazon, aws: Aws) -> None:
    first, _ = await amazon.instances()
    said = f"Instance Id not found - No managed instance found for instance ID: {first}"
    amazon.answers = {END: [refused("ValidationError", said)]}
    await aws.give_back(first, 1)


# Lifecycle hooks


async def test_one_that_was_given_back_waits_in_the_hook_until_it_is_released(amazon: Amazon, aws: Aws) -> None:
    first, second = await amazon.instances()
    amazon.hooks = True
    await aws.give_back(second, 1)
    assert await aws.look() == Group(1, frozenset({first, second}), leaving=(second,))
    assert HOLD not in amazon.asked
    await aws.release(second)
    await aws.release(second)  # it is on its way by now
    assert await aws.look() == Group(1, frozenset({first}))
    assert await amazon.truth() == (1, {first: True})


async def test_one_that_amazon_takes_counts_until_it_is_gone_and_is_held_as_long(amazon: Amazon, aws: Aws) -> None:
    first, second = await amazon.instances()
    await amazon.take(first)
    (new,) = set(await amazon.instances()) - {first, second}
    assert await aws.look() == Group(3, frozenset({first, second, new}), leaving=(first,))
    await aws.look()
    assert amazon.asked.count(HOLD) == 1  # not at each look
    await aws.grow(4)  # of which the one that goes is one
    assert (await aws.look()).wanted == 4
    await aws.release(first)
    group = await aws.look()
    assert (group.wanted, group.leaving) == (3, ())
    assert first not in (group.vms or ())


async def test_one_that_launches_counts_and_is_let_in_when_its_agent_is_there(amazon: Amazon, aws: Aws) -> None:
    first, second = await amazon.instances()
    amazon.states[second] = "Pending:Wait"
    assert await aws.look() == Group(2, frozenset({first, second}), arriving=(second,))
    await aws.admit(second)
    assert await aws.look() == Group(2, frozenset({first, second}))
    assert amazon.asked.count(COMPLETE) == 1


async def test_without_hooks_nobody_is_waited_for(amazon: Amazon) -> None:
    await amazon.make(3)
    aws = provider(amazon, aws_terminating_hook="", aws_launching_hook="")
    first, second, third = await amazon.instances()
    amazon.states = {first: "Terminating:Wait", second: "Pending:Wait", third: "Terminating"}
    assert await aws.look() == Group(1, frozenset({second}))
    await aws.release(first)
    assert COMPLETE not in amazon.asked
    await aws.close()


# Errors


async def test_it_is_asked_again_when_it_is_busy(amazon: Amazon, aws: Aws) -> None:
    contention = refused("ResourceContention", "You already have a pending update", 500)
    amazon.answers = {DESCRIBE: [throttled(), contention]}
    assert (await aws.look()).wanted == 2
    assert amazon.asked == [DESCRIBE] * 3
    amazon.answers = {DESCRIBE: [refused("InternalFailure", "sorry", 500)]}
    assert (await aws.look()).wanted == 2


async def test_throttling_that_lasts_is_told(amazon: Amazon, aws: Aws) -> None:
    amazon.answers = {DESCRIBE: [throttled() for _ in range(3)]}
    with pytest.raises(ProviderError, match="Amazon refused describe_auto_scaling_groups: Throttling: Rate exceeded"):
        await aws.look()
    assert amazon.asked == [DESCRIBE] * 3
    assert (await aws.look()).wanted == 2


async def test_it_waits_for_as_long_as_it_is_told_to(amazon: Amazon, aws: Aws) -> None:
    amazon.answers = {DESCRIBE: [throttled("1")]}
    began = time.monotonic()
    await aws.look()
    assert time.monotonic() - began >= 1
    amazon.answers = {DESCRIBE: [throttled("17")]}
    with pytest.raises(ProviderError) as caught:
        await aws.look()
    assert caught.value.retry_after_s == 17


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refused("AccessDenied", "not authorized", 403), "describe_auto_scaling_groups: AccessDenied: not authorized"),
        (refused("ExpiredToken", "is expired", 403), "ExpiredToken: is expired"),
        (described(DesiredCapacity=1), "cannot read what Amazon answered: Object missing required field `MaxSize`"),
        (
            described(
                DesiredCapacity=4,
                MaxSize=9,
                Instances="<member><InstanceId>i-1</InstanceId><LifecycleState>InService</LifecycleState>"
                "<WeightedCapacity>4</WeightedCapacity></member>",
            ),
            "weighs its instances: each VM has to count as one",
        ),
    ],
)
async def test_what_is_refused_or_nonsense_is_said(answer: web.Response, said: str, amazon: Amazon, aws: Aws) -> None:
    amazon.answers = {DESCRIBE: [answer]}
    with pytest.raises(ProviderError) as caught:
        await aws.look()
    assert said in str(caught.value)
    assert (await aws.look()).wanted == 2


@pytest.mark.long
async def test_an_answer_that_is_no_xml_is_asked_for_again(amazon: Amazon, aws: Aws) -> None:
    amazon.answers = {DESCRIBE: [web.Response(status=502, text="<html>")]}
    assert (await aws.look()).wanted == 2
    amazon.answers = {DESCRIBE: [web.Response(text="{}") for _ in range(3)]}
    with pytest.raises(ProviderError, match="cannot ask Amazon: ResponseParserError"):
        await aws.look()
    amazon.answers = {DESCRIBE: [web.Response(text="<a/>", content_type="text/xml") for _ in range(3)]}
    with pytest.raises(ProviderError, match="cannot ask Amazon: KeyError"):
        await aws.look()


async def test_a_group_that_is_not_there_is_named(amazon: Amazon) -> None:
    aws = provider(amazon)
    with pytest.raises(ProviderError, match=f"has no auto scaling group {amazon.group} in this region"):
        await aws.look()
    await aws.close()


async def test_who_does_not_answer_is_not_waited_for(amazon: Amazon) -> None:
    await amazon.make(1)
    aws = provider(amazon, timeout_s=1.0)
    amazon.hangs = DESCRIBE
    began = time.monotonic()
    with pytest.raises(ProviderError, match=r"Amazon did not answer within 1 s|cannot ask Amazon: ReadTimeoutError"):
        await aws.look()
    assert time.monotonic() - began < 30
    await aws.close()


async def test_nobody_there_is_a_fault_like_others(amazon: Amazon) -> None:
    (port,) = free_ports(1)
    aws = provider(amazon, aws_endpoint_url=f"http://127.0.0.1:{port}")
    with pytest.raises(ProviderError, match="cannot ask Amazon: EndpointConnectionError"):
        await aws.look()
    await aws.close()


async def test_the_sdk_s_descriptions_are_read_before_the_loop_needs_them(
    amazon: Amazon, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading them holds up the loop for a twentieth of a second."""
    loaders = importlib.import_module("botocore.loaders")
    loader = loaders.JSONFileLoader
    load_file, read = loader.load_file, list[str]()

    def watched(self: Any, file_path: str) -> Any:
        found = load_file(self, file_path)
        if found is not None:
            read.append(file_path)
        return found

    monkeypatch.setattr(loader, "load_file", watched)
    await aws.look()
    assert read == []
    monkeypatch.setattr("botocore.session.create_loader", loaders.create_loader)  # not what is shared in these tests
    provider(amazon)
    assert any("service-2" in path for path in read)


# Credentials


@pytest.mark.long
async def test_the_credentials_are_those_of_the_vm_s_role(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    await amazon.make(1)
    async with on_an_instance(monkeypatch) as metadata:
        aws = provider(amazon)
        with pytest.raises(ProviderError, match="cannot ask Amazon: NoCredentialsError"):
            await aws.look()
        metadata.role = "manager"  # it was given one meanwhile
        assert (await aws.look()).wanted == 1
        await aws.close()


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(CannotScaleError, match=r"pip install 'poolmgr\[autoscaling\]'"):
        provider_of(ScalingSettings(provider="aws", aws_group="bots"))
