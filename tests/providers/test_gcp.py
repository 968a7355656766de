"""The managed instance group: against a stand-in that refuses, hangs, loses answers, is late and ends later."""

import time
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from common.config.settings import ScalingSettings
from lab.parts.ports import free_ports
from poolmgr.providers.choice import provider_of
from poolmgr.providers.gcp import Gcp
from poolmgr.providers.provider import ProviderError
from poolmgr.scaling.steps import Group
from tests.providers.google import PROJECT, Google, refused

RATE = ("Rate Limit Exceeded", "rateLimitExceeded")


@pytest.fixture
async def google(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Google]:
    google = Google()
    google.resize(2)
    async with google.serving():
        monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{google.port}")
        yield google


@pytest.fixture
async def gcp(google: Google) -> AsyncGenerator[Gcp]:
    gcp = provider(google)
    yield gcp
    await gcp.close()


def provider(google: Google, **settings: Any) -> Gcp:
    chosen = ScalingSettings(
        provider="gcp",
        gcp_group="bots",
        gcp_location="europe-west1-b",
        gcp_api_url=google.url,
        timeout_s=16,  # a machine that runs tests may be busy; less than a pause that is asked for (17 s)
    )
    made = provider_of(msgspec.structs.replace(chosen, **settings))
    assert isinstance(made, Gcp)
    return made


# What it has, and more of it


async def test_vms_are_known_by_name_and_by_id(google: Google, gcp: Gcp) -> None:
    ids = {vm["id"] for vm in google.vms_by_name.values()}
    assert await gcp.look() == Group(2, frozenset({*google.vms_by_name, *ids}))
    assert google.asked == ["get", "list"]
    google.resize(0)
    assert await gcp.look() == Group(0, frozenset())


async def test_those_that_google_ends_or_makes_anew_do_not_count(google: Google, gcp: Gcp) -> None:
    google.resize(5)
    vms = [*google.vms_by_name]
    for name, action in zip(vms, ("CREATING", "DELETING", "RECREATING", "ABANDONING", "REFRESHING"), strict=True):
        google.vms_by_name[name]["currentAction"] = action
    del google.vms_by_name[vms[0]]["id"]  # it is not made yet
    group = await gcp.look()
    assert (group.wanted, group.vms) == (5, frozenset({vms[0], vms[4], google.vms_by_name[vms[4]]["id"]}))


async def test_a_large_group_comes_in_pages(google: Google, gcp: Gcp) -> None:
    google.resize(7)
    google.a_page = 3
    group = await gcp.look()
    assert frozenset(google.vms_by_name) <= (group.vms or frozenset())
    assert google.asked == ["get", "list", "list", "list"]
    google.a_page = 1
    google.resize(21)
    with pytest.raises(ProviderError, match="the group bots has more than 10,000 VMs"):
        await gcp.look()


async def test_more_are_asked_for_and_never_fewer(google: Google, gcp: Gcp) -> None:
    await gcp.grow(4)
    await gcp.grow(4)
    await gcp.grow(3)
    assert (google.size, google.asked.count("resize"), google.chosen) == (4, 1, [])


async def test_a_late_answer_makes_the_group_no_smaller(google: Google, gcp: Gcp) -> None:
    google.hold_back()
    await gcp.grow(5)
    assert (await gcp.look()).wanted == 2
    await gcp.grow(4)
    assert (google.size, google.chosen) == (5, [])
    await gcp.grow(6)
    assert (google.size, google.chosen) == (6, [])


async def test_an_answer_that_is_lost_makes_the_group_no_smaller(google: Google, gcp: Gcp) -> None:
    google.hold_back()
    google.loses["resize"] = 3
    with pytest.raises(ProviderError, match="cannot ask Google: "):
        await gcp.grow(6)
    await gcp.grow(4)
    assert (google.size, google.chosen) == (6, [])
    assert len(google.operations) == 1  # it was asked three times for one thing


async def test_what_was_refused_is_asked_for_again(google: Google, gcp: Gcp) -> None:
    google.answers = {"resize": [refused(403, "Quota 'CPUS' exceeded", "quotaExceeded")]}
    with pytest.raises(ProviderError, match="Google answered 403: Quota 'CPUS' exceeded"):
        await gcp.grow(3)
    await gcp.grow(3)
    assert google.size == 3


# Giving one back


async def test_exactly_the_one_that_is_named_ends(google: Google, gcp: Gcp) -> None:
    google.resize(3)
    first, second, third = google.vms_by_name
    await gcp.give_back(second, 2)
    await gcp.give_back(google.vms_by_name[third]["id"], 1)
    assert ([*google.vms_by_name], google.size, google.chosen) == ([first], 1, [])
    await gcp.give_back(second, 1)
    await gcp.release(second)
    await gcp.admit(first)
    assert (google.size, google.asked.count("delete")) == (1, 2)


async def test_one_that_is_gone_already_lowers_nothing_also_when_the_group_is_late(google: Google, gcp: Gcp) -> None:
    first, second = google.vms_by_name
    google.hold_back()
    google.loses["delete"] = 3
    with pytest.raises(ProviderError, match="cannot ask Google: "):
        await gcp.give_back(second, 1)
    assert (await gcp.look()).leaving == (second,)  # it is not taken back
    await gcp.give_back(second, 1)
    assert ([*google.vms_by_name], google.size) == ([first], 1)


# Operations that end later


async def test_an_operation_that_fails_later_is_told_once(google: Google, gcp: Gcp) -> None:
    google.ends_later = True
    await gcp.grow(3)
    await gcp.look()
    await gcp.look()
    google.end_operations(("QUOTA_EXCEEDED", "Quota 'CPUS' exceeded. Limit: 24.0"))
    with pytest.raises(ProviderError, match="could not do what was asked, 3 VMs: QUOTA_EXCEEDED: Quota 'CPUS'"):
        await gcp.look()
    assert google.asked.count("operation") == 3
    await gcp.look()
    assert google.asked.count("operation") == 3


async def test_an_operation_that_ended_well_is_asked_for_no_more(google: Google, gcp: Gcp) -> None:
    google.ends_later = True
    await gcp.give_back(next(iter(google.vms_by_name)), 1)
    assert (await gcp.look()).wanted == 1
    google.end_operations()
    await gcp.look()
    await gcp.look()
    assert google.asked.count("operation") == 2


async def test_an_operation_that_is_forgotten_is_asked_for_no_more(google: Google, gcp: Gcp) -> None:
    google.ends_later = True
    await gcp.grow(3)
    google.operations.clear()
    await gcp.look()
    await gcp.look()
    assert google.asked.count("operation") == 1


async def test_an_operation_that_failed_at_once_is_told_at_once(google: Google, gcp: Gcp) -> None:
    failed = {"name": "operation-x", "status": "DONE", "error": {"errors": [{"code": "BUSY", "message": "no"}]}}
    google.answers = {"resize": [web.json_response(failed)]}
    with pytest.raises(ProviderError, match="3 VMs: BUSY: no"):
        await gcp.grow(3)
    await gcp.grow(3)
    assert google.size == 3


async def test_no_more_than_twenty_operations_are_followed(google: Google, gcp: Gcp) -> None:
    google.ends_later = True
    for size in range(3, 25):
        await gcp.grow(size)
    await gcp.look()
    assert google.asked.count("operation") == 20


# A group that would end VMs with calls


@pytest.mark.parametrize(
    ("place", "change", "said"),
    [
        ("zones/europe-west1-b", {"status": {"autoscaler": "https://x/autoscalers/a"}}, "has an autoscaler"),
        ("zones/europe-west1-b", {"updatePolicy": {"type": "PROACTIVE"}}, "replaces VMs by itself"),
        ("regions/europe-west1", {"updatePolicy": {"instanceRedistributionType": "PROACTIVE"}}, "between zones"),
        ("regions/europe-west1", {"updatePolicy": {}}, "between zones"),
    ],
)
async def test_a_group_that_google_makes_smaller_by_itself_is_refused(
    place: str, change: dict[str, Any], said: str
) -> None:
    google = Google(place)
    google.group |= change
    async with google.serving():
        location = place.rpartition("/")[2]
        gcp = Gcp(
            ScalingSettings(gcp_group="bots", gcp_location=location, gcp_api_url=google.url, gcp_project=PROJECT),
            {"GCE_METADATA_HOST": f"127.0.0.1:{google.port}"},
        )
        for question in (gcp.look(), gcp.grow(3), gcp.give_back("bots-0000", 0)):
            with pytest.raises(ProviderError, match=said):
                await question
        await gcp.close()
    assert set(google.asked) == {"get"}


async def test_a_regional_group_is_asked_in_its_region(monkeypatch: pytest.MonkeyPatch) -> None:
    google = Google("regions/europe-west1")
    async with google.serving():
        monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{google.port}")
        gcp = provider(google, gcp_location="europe-west1")
        google.ends_later = True
        await gcp.grow(2)
        assert (await gcp.look()).wanted == 2
        await gcp.close()


# Errors


async def test_it_is_asked_again_when_it_is_busy(google: Google, gcp: Gcp) -> None:
    google.answers = {"get": [refused(403, *RATE), refused(503, "try again", "backendError")]}
    assert (await gcp.look()).wanted == 2
    google.answers = {"list": [refused(500, "sorry", "internalError"), web.Response(status=502, text="<html>")]}
    assert (await gcp.look()).wanted == 2


async def test_throttling_that_lasts_is_told(google: Google, gcp: Gcp) -> None:
    google.answers = {"get": [refused(429, "Quota exceeded for quota metric", "rateLimitExceeded") for _ in range(3)]}
    with pytest.raises(ProviderError, match="Google answered 429: Quota exceeded for quota metric"):
        await gcp.look()
    assert google.asked == ["get"] * 3
    assert (await gcp.look()).wanted == 2


async def test_it_waits_for_as_long_as_it_is_told_to(google: Google, gcp: Gcp) -> None:
    google.answers = {"get": [refused(429, *RATE, **{"Retry-After": "1"})]}
    began = time.monotonic()
    await gcp.look()
    assert time.monotonic() - began >= 1
    google.answers = {"get": [refused(403, *RATE, **{"Retry-After": "17"})]}
    with pytest.raises(ProviderError) as caught:
        await gcp.look()
    assert caught.value.retry_after_s == 17
    google.answers = {"get": [refused(429, *RATE, **{"Retry-After": "Mon, 30 Nov 2026 17:00:00 GMT"})]}
    await gcp.look()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            refused(403, "Required 'compute.instances.get' permission", "forbidden"),
            "403: Required 'compute.",
        ),
        (refused(404, "The resource 'bots' was not found", "notFound"), "404: The resource 'bots' was not found"),
        (web.Response(status=400, text="[]"), "Google answered 400: "),
        (web.Response(status=307, headers={"Location": "https://elsewhere.example/"}), "Google answered 307: "),
        (web.Response(text="<html>"), "cannot read what Google answered"),
        (web.json_response({"targetSize": -1}), "cannot read what Google answered"),
        (web.Response(body=b" " * 4_000_001), "Google answered with more than 4,000,000 bytes"),
    ],
)
async def test_what_is_refused_or_nonsense_is_said(answer: web.Response, said: str, google: Google, gcp: Gcp) -> None:
    google.answers = {"get": [answer]}
    with pytest.raises(ProviderError) as caught:
        await gcp.look()
    assert said in str(caught.value)
    assert (await gcp.look()).wanted == 2


async def test_who_does_not_answer_is_not_waited_for(google: Google) -> None:
    gcp = provider(google, timeout_s=1.0)
    google.hangs = "list"
    began = time.monotonic()
    with pytest.raises(ProviderError, match="Google did not answer within 1 s"):
        await gcp.look()
    assert time.monotonic() - began < 30
    google.hangs = ""
    assert (await gcp.look()).wanted == 2
    await gcp.close()


async def test_nobody_there_is_a_fault_like_others(google: Google) -> None:
    (port,) = free_ports(1)
    gcp = provider(google, gcp_api_url=f"http://127.0.0.1:{port}")
    with pytest.raises(ProviderError, match="cannot ask Google: ClientConnectorError"):
        await gcp.look()
    await gcp.close()


# Its token


async def test_a_token_is_used_until_shortly_before_its_end(google: Google, gcp: Gcp) -> None:
    await gcp.look()
    await gcp.look()
    assert google.tokens == ["token-0"]
    google.expires_in = 60
    google.answers = {"get": [refused(401, "Request had invalid authentication credentials.", "authError")]}
    await gcp.look()  # of which one call was refused, and asked again with a new token
    assert google.tokens[:2] == ["token-0", "token-1"]
    before = len(google.tokens)
    await gcp.look()
    assert len(google.tokens) > before


async def test_without_a_token_it_says_what_is_missing(google: Google, gcp: Gcp) -> None:
    google.answers = {"token": [web.Response(status=404)]}
    with pytest.raises(ProviderError, match="answered 404 to instance/service-accounts/default/token: this VM has no"):
        await gcp.look()
    google.answers = {"token": [web.Response(status=503)]}
    assert (await gcp.look()).wanted == 2


async def test_outside_of_google_there_is_no_metadata_server(google: Google) -> None:
    (port,) = free_ports(1)
    settings = ScalingSettings(gcp_group="bots", gcp_location="europe-west1-b", gcp_api_url=google.url)
    gcp = Gcp(settings, {"GCE_METADATA_HOST": f"127.0.0.1:{port}"})
    with pytest.raises(ProviderError, match="the metadata server, which has this VM's token: cannot ask Google"):
        await gcp.look()
    await gcp.close()
