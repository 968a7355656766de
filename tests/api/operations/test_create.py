"""create_bot: what it refuses and why, what it hands in, and that it does so once."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from common.config.settings import WebhookSettings
from common.jobs.fields import DEFAULT_NAME
from common.jobs.job import JobRules, parse_job
from poolmgr.store.leader.inbox import Jobs
from tests.api.conftest import JOB, LINK, OWN, TOKEN, World, token
from tests.waiting import wait_until

BAD: list[tuple[dict[str, Any], str]] = [
    ({"meeting_link": None}, "meeting_link is required."),
    ({"meeting_link": "https://example.com/x"}, "meeting_link: unknown platform"),
    ({"meeting_link": 5}, "meeting_link: expected `str"),
    ({"meeting_url": LINK + "2"}, "meeting_url: is another link"),
    ({"bot_name": None}, "bot_name: expected `str"),
    ({"bot_name": ""}, "bot_name: expected `str` of length >= 1"),
    ({"bot_name": "x" * 101}, "bot_name: expected `str` of length <= 100"),
    ({"bot_name": "\u200b\u202e"}, "bot_name: has no printable character"),
    ({"bot_id": "../x"}, "bot_id: must be"),
    ({"join_at": "soon"}, "join_at: is not an ISO 8601 time"),
    ({"join_at": "2999-01-01T00:00:00Z"}, "join_at: is more than a year ahead"),
    ({"custom_attributes": [1]}, "custom_attributes: expected `object"),
    ({"deduplication_key": ""}, "deduplication_key: expected"),
    ({"deduplication_key": "é"}, "deduplication_key: expected `str` matching regex"),
    ({"deduplication_key": "x" * 2001}, "deduplication_key: expected"),
    ({"automatic_leave": {"waiting_room_timeout": 0}}, "automatic_leave.waiting_room_timeout: expected `int` >= 1"),
    ({"automatic_leave": {"everyone_left_timeout": 604801}}, "automatic_leave.everyone_left_timeout: expected"),
    ({"automatic_leave": {"recording_permission_denied_timeout": "1"}}, "permission_denied_timeout: expected"),
    ({"automatic_leave": {"bot_detection": {"using_participant_names": {"matches": "x"}}}}, "matches: expected `array"),
    ({"queue_timeout": -1}, "queue_timeout: expected `float` >= 0"),
    ({"priority": 1.5}, "priority: expected `int"),
    ({"video_required": "yes"}, "video_required: expected `bool"),
    ({"bot_image_url": "data:image/png;base64,AAAA"}, "bot_image_url: "),
    ({"bot_image_url": "https://10.0.0.1/x.png"}, "bot_image_url: the URL's host is an address that may not be called"),
    ({"live_transcription_required": {}}, "missing required field `webhook_url`"),
    (
        {
            "live_transcription_required": {"webhook_url": "https://169.254.169.254/"},
            "recording_config": {"transcript": {"provider": {"deepgram_streaming": {}}}},
        },
        "live_transcription_required.webhook_url: ",
    ),
    ({"live_audio_required": {"websocket_url": "https://hooks.example/"}}, "does not begin with wss://"),
    ({"live_audio_required": {"websocket_url": "wss://[::1]/"}}, "live_audio_required.websocket_url: "),
    ({"socket_connection_url": {"websocket_url": "wss://metadata.google.internal/"}}, "socket_connection_url: "),
    ({"zoom": {"zak_url": "https://a.example/", "obf_url": "https://a.example/"}}, "has both zak_url and obf_url"),
    ({"zoom": {}}, "has neither zak_url nor obf_url"),
    ({"zoom": {"zak": "x"}}, "zoom: object contains unknown field `zak`"),
    ({"zoom": {"zak_url": "http://192.168.0.1/"}}, "zoom.zak_url: "),
    ({"recording_config": {"transcript": {"provider": {}}}}, "recording_config.transcript.provider: expected"),
    ({"recording_config": {"transcript": {"provider": {"a": {}, "b": {}}}}}, ".transcript.provider: expected"),
    ({"recording_config": {"retention": {"type": "forever"}}}, "recording_config.retention.type: invalid enum value"),
    ({"recording_config": {"retention": {"hours": 0}}}, "recording_config.retention.hours: expected"),
    ({"recording_config": {"realtime_endpoints": [{"url": "https://10.1.1.1./"}]}}, "realtime_endpoints[0].url: "),
    ({"recording_config": {"realtime_endpoints": [{"url": "ws://10.0.0.1/"}]}}, "realtime_endpoints[0].url: "),
    ({"google_meet": {"login_required": "always"}}, "google_meet.login_required: expected `bool"),
    ({"owner": "somebody"}, "owner: is set by the server"),
]  # fmt: skip

SSRF = [
    "https://2130706433/", "https://0177.0.0.1/", "https://0x7f.1/", "https://0x7f000001/", "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:a9fe:a9fe]/", "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data/", "https://[fd00::1]/",
    "https://user:pass@hooks.example/", "https://hooks.example@10.0.0.1/", "https://metadata.google.internal/",
    "https://0/", "https://127.1:99999/", "ftp://hooks.example/", "file:///etc/passwd", "https://", "https://a b/",
    "javascript:alert(1)", "https://hooks.example\\@10.0.0.1/", "https://224.0.0.1/", "https://[64:ff9b::a00:1]/",
    "https://localhost/", "https://127.0.0.1/", "https://[::1]/", "https://①②⑦.0.0.1/", "http://hooks.example/",
]  # fmt: skip


async def test_what_is_wrong_is_named(world: World) -> None:
    async with world.serving() as call:
        for fields, words in BAD:
            answer = await call.create(**fields)
            assert answer.status == 400, fields
            assert words in answer.message, (fields, answer.message)
    assert not await world.redis.exists(world.keys.jobs)


async def test_an_invitation_is_a_link_and_its_passcode_is_told_to_nobody_who_asks(world: World) -> None:
    text = "Join: <https://us02web.zoom.us/j/81234567890?utm_source=m&pwd=a.1>\nMeeting ID: 812 3456 7890"
    async with world.serving() as call:
        answer = await call.create(meeting_link=text, passcode="hunter2", queue_timeout=60)
        assert answer.status == 201, answer.message
        assert answer.body["meeting_url"] == "https://us02web.zoom.us/j/81234567890?pwd=a.1"
        refused = await call.create(meeting_link=text, passcode="hunter2\n")
        assert (refused.status, "passcode: " in refused.message, "hunter2" in refused.message) == (400, True, False)
        for path in (f"/bots/{answer.body['bot_id']}/status", "/bots"):
            assert "hunter2" not in json.dumps((await call("GET", path)).body)


async def test_a_callback_to_an_address_that_is_not_public_is_refused(world: World) -> None:
    world.settings = msgspec.structs.replace(world.settings, webhooks=WebhookSettings())
    async with world.serving() as call:
        for url in SSRF:
            answer = await call.create(callback_url=url)
            assert answer.status == 400, url
            assert answer.message.startswith("callback_url: "), (url, answer.message)
    assert not await world.redis.exists(world.keys.jobs)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"a":' * 40_000,
        b'{"meeting_link":"' + LINK.encode() + b'","bot_name":"a","bot_name":"b"}',
        b'{"meeting_link":"' + LINK.encode() + b'","bot_name":"a","x":NaN}',
        b'{"meeting_link":"' + LINK.encode() + b'","bot_name":"a","x":Infinity}',
        b'{"meeting_link":"' + LINK.encode() + b'","bot_name":"a","x":"\\ud800"}',
        b'{"meeting_link":"' + LINK.encode() + b'","bot_name":"\\udc00"}',
        b'{"meeting_link":"' + LINK.encode() + b'","bot_name":"a","custom_attributes":{"x":1e999}}',
        b'{"meeting_link":"' + LINK.encode() + b'","bot_name":"a","priority":1e999}',
        b'{"meeting_link":"' + LINK.encode() + b'","bot_name":"a"} {}',
    ],
)  # fmt: skip
async def test_what_is_no_json_object_is_refused(world: World, body: bytes) -> None:
    async with world.serving() as call:
        answer = await call("POST", "/bots/create_bot", body)
        assert answer.status == 400
        assert answer.message


async def test_a_bot_needs_no_name_as_by_every_other_way_in(world: World) -> None:
    async with world.serving() as call:
        answer = await call("POST", "/bots/create_bot", json.dumps({"meeting_link": LINK}).encode())
        assert answer.status == 201, answer.message
        job = parse_job(await world.redis.rpop(world.keys.jobs), 0, JobRules.of(world.settings))
        detail = (await call("GET", f"/bots/{answer.body['bot_id']}/detail")).body["bot_details"]
        assert job.bot_name == detail["BotUsername"] == DEFAULT_NAME


async def test_what_is_sent_is_handed_in_as_it_is_with_our_two_fields(world: World) -> None:
    fields: dict[str, Any] = {
        "bot_name": "Ada 🎙️ Ünïcode",
        "custom_attributes": {"tag": "a", "n": 1.5, "deep": [{"x": None}], "🎉": True},
        "something_new": {"kept": [1, 2, 3]},
        "bot_image_url": "https://images.example/a.png",
        "socket_connection_url": {"websocket_url": "wss://socket.example/"},
        "live_audio_required": {"websocket_url": "wss://socket.example/"},
        "live_transcription_required": {"webhook_url": "https://hooks.example/"},
        "recording_config": {
            "transcript": {"provider": {"deepgram_streaming": {"model": "nova-2"}}},
            "realtime_endpoints": [{"type": "webhook", "url": "https://hooks.example/", "events": ["a"]},
                                   {"url": "wss://hooks.example/"}],
            "retention": {"type": "timed", "hours": 24},
        },
        "zoom": {"zak_url": "https://tokens.example/zak"},
        "automatic_leave": {
            "no_one_joined_timeout": 5, "bot_detection": {"using_participant_names": {"matches": ["bot"]}},
        },
        "user_id": 17,
        "callback_url": "http://127.0.0.1:9000/hook",
    }  # fmt: skip
    async with world.serving() as call:
        answer = await call.create(**fields)
        assert answer.status == 201, answer.message
        bot_id = answer.body["bot_id"]
        (warning,) = answer.body.pop("warnings")
        assert warning.startswith("recording_config.transcript.provider: ")
        assert answer.body == {"bot_id": bot_id, "transcript_id": None, "meeting_url": LINK, "status": "Active"}
        payload = await world.redis.rpop(world.keys.jobs)
        assert json.loads(payload) == {**JOB, **fields, "bot_id": bot_id, "owner": "app"}
        job = parse_job(payload, 0, JobRules.of(world.settings))
        assert (job.bot_id, job.owner, job.user_id) == (bot_id, "app", "17")
        status = await call("GET", f"/bots/{bot_id}/status")
        assert status.body.pop("warnings") == [warning]
        assert status.body == {"bot_id": bot_id, "status": "Active", "custom_attributes": fields["custom_attributes"]}
        detail = (await call("GET", f"/bots/{bot_id}/detail")).body["bot_details"]
        assert (detail["Status"], detail["BotUsername"], detail["UserID"]) == ("Active", fields["bot_name"], "17")


ARTICLE = {  # model 1 of the article: its own call
    "meeting_link": LINK,
    "bot_name": "Notetaker",
    "callback_url": "http://127.0.0.1:9000/hook",
    "live_transcription_required": {"webhook_url": "http://127.0.0.1:9000/transcript"},
}


async def test_what_does_not_happen_as_it_says_is_told_alike_by_every_way_in(world: World) -> None:
    sent = {**ARTICLE, "joinAt": "2030-01-01", "automatic_leave": {"everyone_left": 60}}
    async with world.leading() as call:
        created = await call("POST", "/bots/create_bot", sent)
        assert created.status == 201
        await world.redis.lpush(world.keys.jobs, json.dumps({**sent, "bot_id": "pushed"}))
        await world.until_state("pushed", "queued")
        told = [
            (await call("GET", f"/bots/{bot_id}/detail")).body["bot_details"]["warnings"]
            for bot_id in (created.body["bot_id"], "pushed")
        ]
        record = await world.views.bot("pushed")
    assert [warning.partition(":")[0] for warning in created.body["warnings"]] == [
        "joinAt",
        "automatic_leave.everyone_left",
    ]
    assert told == [created.body["warnings"]] * 2
    assert record is not None
    assert list(record.warnings) == told[0]


async def test_a_bot_without_a_record_yet_has_its_warnings_and_so_have_replays(world: World) -> None:
    async with world.serving() as call:
        created = await call.create("k", joinAt="x", deduplication_key="d")
        detail = (await call("GET", f"/bots/{created.body['bot_id']}/detail")).body["bot_details"]
        replayed = await call.create("k", joinAt="x", deduplication_key="d")
        again = await call.create(joinAt="x", deduplication_key="d")
        assert (created.status, replayed.status, again.status) == (201, 507, 200)
        (warning,) = created.body["warnings"]
        assert detail["warnings"] == replayed.body["warnings"] == again.body["warnings"] == [warning]
        assert (await call.create()).body["warnings"] == []


async def test_who_is_strict_has_it_refused(world: World) -> None:
    world.change(tokens=[token("app", TOKEN, strict=True), token("own", OWN)])
    async with world.serving() as call:
        refused = await call.create(joinAt="x", metadata={})
        assert refused.status == 400
        assert "joinAt: is no field of ours" in refused.message
        assert "metadata: is no field of ours" in refused.message
        assert (await call.create()).status == 201
        assert (await call.as_(OWN).create(joinAt="x")).status == 201


async def test_strict_settings_refuse_it_by_every_way_in(world: World) -> None:
    meetings = msgspec.structs.replace(world.settings.meetings, strict=True)
    world.settings = msgspec.structs.replace(world.settings, meetings=meetings)
    async with world.leading() as call:
        refused = await call("POST", "/bots/create_bot", {**ARTICLE, "joinAt": "x"})
        await world.redis.lpush(world.keys.jobs, json.dumps({**ARTICLE, "joinAt": "x", "bot_id": "pushed"}))
        dead = await world.dead_job()
    assert (refused.status, dead.reason, dead.bot_id) == (400, "warned", "pushed")
    assert dead.detail == refused.message


async def test_numbers_and_spacing_stay_as_they_were_sent(world: World) -> None:
    body = b' { "meeting_url" : "' + LINK.encode() + b'",\n"bot_name":"a","x":1.50e2 }\n'
    async with world.serving() as call:
        assert (await call("POST", "/bots/create_bot", body)).status == 201
    assert (await world.redis.rpop(world.keys.jobs)).endswith(body.strip()[1:] + b"\n")


async def test_what_is_null_or_empty_is_not_there(world: World) -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        ("join_at", "callback_url", "custom_attributes", "recording_config", "zoom", "user_id")
    )
    async with world.serving() as call:
        assert (await call.create(**nothing, bot_image_url="", bot_message="")).status == 201


async def test_a_bot_id_may_be_given_and_is_the_bots_once(world: World) -> None:
    async with world.serving() as call:
        assert (await call.create(bot_id="mine.1")).body["bot_id"] == "mine.1"
        again = await call.create(bot_id="mine.1")
        assert again.status == 409
        assert "leave bot_id out" in again.message
        assert (await call.create(bot_id=None)).status == 201
    for payload in await world.redis.lrange(world.keys.jobs, 0, -1):
        assert json.loads(payload)["owner"] == "app"
        parse_job(payload, 0, JobRules.of(world.settings))


async def test_a_job_for_later_is_scheduled_at_once(world: World) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    async with world.serving() as call:
        answer = await call.create(join_at=later)
        assert answer.body["status"] == "Scheduled"
        assert (await call("GET", f"/bots/{answer.body['bot_id']}/status")).body["status"] == "Scheduled"
        assert (await call.create(join_at="2020-01-01T00:00:00Z")).body["status"] == "Active"


async def test_a_request_sent_twenty_times_with_one_idempotency_key_makes_one_bot(world: World) -> None:
    async with world.leading() as call:
        answers = await asyncio.gather(*(call.create("my key", custom_attributes={"a": 1, "b": 2}) for _ in range(20)))
        assert Counter(answer.status for answer in answers) == {201: 1, 507: 19}
        assert len({answer.body["bot_id"] for answer in answers}) == 1
        replay = await call.create("my key", custom_attributes={"b": 2, "a": 1})
        assert replay.status == 507, "it says the same in another order"
        assert replay.body.keys() == {"message", "bot_id", "transcript_id", "meeting_url", "status", "warnings"}
        assert (replay.body["meeting_url"], replay.body["status"]) == (LINK, "Joining")
        other = await call.create("my key", custom_attributes={"a": 2})
        assert other.status == 409
        assert "a new request needs a new key" in other.message
        assert (await call.as_(OWN).create("my key")).status == 201
        for bad in ("x" * 256, " ", "é"):
            refused = await call("POST", "/bots/create_bot", JOB, headers={"Idempotency-Key": bad})
            assert (refused.status, refused.message.partition(":")[0]) == (400, "Idempotency-Key")
    assert await world.redis.zcard(world.keys.live) == 2


async def test_a_replay_is_answered_also_after_the_bot_was_deleted(world: World) -> None:
    async with world.serving() as call:
        bot_id = (await call.create("k")).body["bot_id"]
        await world.redis.delete(world.keys.submitted(bot_id))
        assert (await call.create("k")).body["status"] == "Stopped"


async def test_a_replay_says_nothing_of_another_tokens_bot(world: World) -> None:
    async with world.serving() as call:
        assert (await call.as_(OWN).create("k", bot_id="mine")).status == 201
        await world.redis.delete(world.keys.submitted("mine"))  # as after its deletion
        soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        assert (await call.create(bot_id="mine", join_at=soon)).body["status"] == "Scheduled"
        replay = await call.as_(OWN).create("k", bot_id="mine")
        assert (replay.status, replay.body["status"]) == (507, "Stopped")


async def test_what_is_handed_in_is_what_intake_can_read(world: World) -> None:
    body = json.dumps({**JOB, "bot_id": None, "more": 0})
    async with world.serving() as call:
        refused = await call("POST", "/bots/create_bot", body.replace("0}", "1e999}").encode())
        assert (refused.status, refused.message) == (400, "a number in the body is too large")
        assert (await call("POST", "/bots/create_bot", body.encode())).status == 201
    assert await world.redis.llen(world.keys.jobs) == 1


async def test_a_deduplication_key_is_one_bot_in_one_meeting(world: World) -> None:
    async with world.leading() as call:
        answers = await asyncio.gather(*(call.create(deduplication_key="standup") for _ in range(20)))
        assert Counter(answer.status for answer in answers) == {201: 1, 200: 19}
        assert len({answer.body["bot_id"] for answer in answers}) == 1
        other = await call.create(deduplication_key="standup", meeting_link=LINK + "-2")
        assert other.status == 409
        assert other.message.startswith("deduplication_key: ")
        hidden = await call.as_(OWN).create(deduplication_key="standup")
        assert hidden.status == 409, "it is another token's bot"
    assert await world.redis.zcard(world.keys.live) == 1
    assert not await world.redis.exists(world.keys.dead)


async def test_one_meeting_has_one_bot_however_many_ask_at_once(world: World) -> None:
    alone: dict[str, Any] = {"one_bot_per_meeting": True}
    async with world.leading() as call:
        answers = await asyncio.gather(*(call.create(**alone) for _ in range(20)))
        assert Counter(answer.status for answer in answers) == {201: 1, 200: 19}
        (bot_id,) = {answer.body["bot_id"] for answer in answers}
        hidden = await call.as_(OWN).create(**alone)
        assert (hidden.status, hidden.message.partition(":")[0]) == (409, "one_bot_per_meeting")
        assert (await call.create()).status == 201, "who does not ask for it is not asked"
        assert (await call.create(meeting_link=LINK + "-2", **alone)).status == 201
        assert (await call("GET", f"/bots/{bot_id}/remove_bot")).status == 200
        await world.until_state(bot_id, "stopped")
        assert (await call.create(**alone)).status == 201
    assert not await world.redis.exists(world.keys.dead)


async def test_by_http_and_by_redis_at_once_a_meeting_has_one_bot(world: World) -> None:
    async with world.leading() as call:
        for number in range(10):
            job: dict[str, Any] = {**JOB, "meeting_link": f"{LINK}-{number}", "one_bot_per_meeting": True}
            pushed: Awaitable[int] = world.redis.lpush(
                world.keys.jobs, json.dumps({**job, "bot_id": f"pushed-{number}"})
            )
            answer, _ = await asyncio.gather(call.create(**job), pushed)
            assert answer.status in {200, 201}
            assert (answer.status == 200) == (answer.body["bot_id"] == f"pushed-{number}")
        await wait_until(world.all_taken)
        assert await world.redis.zcard(world.keys.live) == 10


async def test_who_asks_for_a_meeting_that_a_leader_held_when_it_died_is_to_come_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolmgr.api.operations.create._SEEN_WITHIN_S", 0.05)
    async with world.serving() as call:
        held = parse_job(
            json.dumps({**JOB, "one_bot_per_meeting": True}).encode(), 0, JobRules.of(world.settings)
        ).held_meeting
        await Jobs(world.redis, world.keys).hold("never-was", meeting=held)
        answer = await call.create(one_bot_per_meeting=True)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        await world.redis.delete(world.keys.meeting(held))  # as when it has run out
        assert (await call.create(one_bot_per_meeting=True)).status == 201


async def test_a_token_has_so_many_bots_at_a_time(world: World) -> None:
    world.change(tokens=[token("app", TOKEN, bots_at_once=2)])
    async with world.leading() as call, world.agent().running():
        answers = await asyncio.gather(*(call.create() for _ in range(6)))
        assert Counter(answer.status for answer in answers) == {201: 2, 429: 4}
        refused = next(answer for answer in answers if answer.status == 429)
        assert "2 bots at a time" in refused.message
        assert int(refused.headers["Retry-After"]) > 0
        bot_id = next(answer.body["bot_id"] for answer in answers if answer.status == 201)
        await world.until_state(bot_id, "in_meeting")
        await call("GET", f"/bots/{bot_id}/remove_bot")
        await world.until_state(bot_id, "stopped")
        assert (await call.create()).status == 201


async def test_who_does_not_want_to_wait_hears_that_there_is_no_worker(world: World) -> None:
    async with world.leading() as call:
        for _ in range(2):
            answer = await call.create("k", queue_timeout=0, deduplication_key="d")
            assert answer.status == 503, "and the same request may come again"
            assert "No worker is free" in answer.message
            assert int(answer.headers["Retry-After"]) > 0
        async with world.agent().running() as agent:
            await wait_until(lambda: agent.idle == 3)
            answer = await call.create("k", queue_timeout=0, deduplication_key="d")
            assert answer.status == 201
            await world.until_state(answer.body["bot_id"], "in_meeting")


async def test_a_bot_that_is_refused_keeps_its_bot_id(world: World) -> None:
    async with world.leading() as call:
        answer = await call.create(queue_timeout=0, bot_id="own")
        assert (answer.status, "send the job with another one" in answer.message) == (503, True)
        assert (await call.create(queue_timeout=0, bot_id="own")).status == 409


async def test_who_requires_a_vm_that_is_not_there_hears_of_it(world: World) -> None:
    async with world.leading() as call, world.agent().running() as agent:
        await wait_until(lambda: agent.idle == 3)
        answer = await call.create(requires={"region": "mars"})
        said = "requires: no VM of the fleet has region=mars at present; the bot waits for one"
        assert (answer.status, answer.body["warnings"]) == (201, [said])
        status = await call("GET", f"/bots/{answer.body['bot_id']}/status")
        assert (status.body["status"], status.body["warnings"]) == ("Joining", [said])
        for _ in range(2):
            answer = await call.create("k", queue_timeout=0, requires={"region": "mars"})
            assert answer.status == 503
            assert "No VM has what the bot requires (region=mars)" in answer.message
        refused = await call.create(requires={"region": 1})
        assert (refused.status, "requires" in refused.message) == (400, True)


async def test_who_repeats_a_call_that_does_not_wait_hears_what_became_of_the_first(world: World) -> None:
    async with world.leading() as call:
        answers = await asyncio.gather(*(call.create("k", queue_timeout=0) for _ in range(6)))
        assert {answer.status for answer in answers} == {503}


async def test_who_does_not_want_to_wait_hears_that_nobody_leads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poolmgr.api.operations.create._CAPACITY_KNOWN_WITHIN_S", 0.05)
    async with world.serving() as call:
        answer = await call.create("k", queue_timeout=0)
        assert answer.status == 503
        assert "No manager leads" in answer.message
        assert not await world.redis.exists(world.keys.jobs, world.keys.owned("app"))
        assert (await call.create("k")).status == 201


async def test_a_scheduled_bot_waits_for_nobodys_worker(world: World) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    async with world.leading() as call:
        answer = await call.create(queue_timeout=0, join_at=later)
        assert (answer.status, answer.body["status"]) == (201, "Scheduled")


async def test_the_bot_is_there_when_its_creation_is_answered(world: World) -> None:
    async with world.leading() as call:
        for _ in range(5):
            bot_id = (await call.create()).body["bot_id"]
            assert (await call("GET", f"/bots/{bot_id}/status")).body["status"] == "Joining"
            assert not await world.redis.exists(world.keys.submitted(bot_id))


async def test_a_large_job_is_taken_and_a_larger_one_is_not(world: World) -> None:
    async with world.serving() as call:
        assert (await call.create(filler=["x" * 1000] * 250)).status == 201
        assert (await call.create(filler=["x" * 1000] * 265)).status == 413
        almost = 256 * 1024 - len(json.dumps({**JOB, "filler": ""}))
        tight = await call.create(filler="x" * almost)
        assert tight.status == 413
        assert "with its bot_id" in tight.message
