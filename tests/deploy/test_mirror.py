"""The receiver on Lambda, called as Lambda calls it, with webhooks of our own, before moto's table."""

import asyncio
import base64
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
import yaml
from msgspec.structs import replace

from common.jobs.outgoing import Delivery
from common.jobs.record import Record, iso
from common.webhooks.envelope import deletion, render
from common.webhooks.signature import headers
from common.wire.vocabulary import BotState
from tests.mirror.dynamo import Dynamo

FOLDER = Path(__file__).parents[2] / "deploy" / "mirror"
SECRET, OLD_SECRET, FOREIGN = (f"whsec_{base64.b64encode(bytes([number]) * 32).decode()}" for number in range(3))
RECORD = Record.from_hash({"bot_id": "b", "callback_url": "https://x/", "custom_attributes": "{}", "user_id": "u"})
NOW = 1_800_000_000.0


class Receiver:
    def __init__(self, module: ModuleType, dynamo: Dynamo) -> None:
        self._module = module
        self._dynamo = dynamo

    def call(self, body: bytes, fields: dict[str, str], *, as_base64: bool = False, method: str = "POST") -> int:
        text = base64.b64encode(body).decode() if as_base64 else body.decode()
        event = {
            "requestContext": {"http": {"method": method}},
            "headers": fields,
            "body": text,
            "isBase64Encoded": as_base64,
        }
        answer = self._module.handler(event)
        assert set(answer) == {"statusCode", "headers", "body"}
        return answer["statusCode"]

    def tell(self, delivery: Delivery, *secrets: str, at: float | None = None, **how: Any) -> int:
        return self.call(delivery.body.encode(), headers(delivery, secrets or (SECRET,), at or time.time()), **how)

    def item(self, bot_id: str = "b") -> dict[str, Any]:
        return asyncio.run(self._dynamo.items()).get(bot_id, {})


@pytest.fixture
def receiver(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Receiver:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", moto)
    dynamo = Dynamo(moto, f"bots-{time.monotonic_ns()}")
    monkeypatch.setenv("TABLE", dynamo.table)
    monkeypatch.setenv("WEBHOOK_SECRETS", f"{OLD_SECRET} {SECRET}")
    asyncio.run(dynamo.make())
    return Receiver(_module(), dynamo)


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mirror_handler", FOLDER / "handler.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def change(state: str, status: str, sequence: int, reason: str = "", **more: str) -> list[Delivery]:
    at, of_stream = iso(NOW + sequence), f"{int(NOW * 1000) + sequence}-0"
    facts = {"bot_id": "b", "state": state, "status": status, "reason": reason, "attempt": "1", "at": at}
    return render(f"{sequence}-0", {**facts, "sequence": of_stream, **more}, RECORD)


@pytest.mark.long
def test_it_keeps_what_webhooks_say_and_repeats_and_late_ones_change_nothing(receiver: Receiver) -> None:
    [joining] = change("joining", "Joining", 1)
    [inside] = change("in_meeting", "InMeeting", 2)
    stopped, *rest = change("stopped", "Stopped", 3, "everyone_left")
    for delivery in (joining, inside, inside):
        assert receiver.tell(delivery) == 204
    assert (receiver.item()["status"], receiver.item()["joining_at"]) == ("InMeeting", iso(NOW + 1))
    assert receiver.tell(stopped, as_base64=True) == 204
    for late in (joining, inside):
        assert receiver.tell(late) == 204
    item = receiver.item()
    assert (item["state"], item["status"], item["status_reason"]) == ("stopped", "Stopped", "everyone_left")
    assert (item["user_id"], item["attempt"], item["stopped_at"]) == ("u", "1", iso(NOW + 3))
    assert int(item["expires_at"]) == int(NOW) + 3 + 7 * 86_400
    assert item["audio_webhook_received"] is False
    for delivery in rest:
        assert receiver.tell(delivery) == 204
    assert receiver.item()["audio_webhook_received"] is False, "it was skipped"
    files = {"recorded": "completed", "audio": "processed", "video": "", "before": "recording"}
    for made in (files, {"transcribed": "processed"}):
        for delivery in change("stopped", "Stopped", 4, "everyone_left", **made):
            assert receiver.tell(delivery) == 204
    assert receiver.item()["audio_webhook_received"] is True
    assert receiver.item()["transcript_webhook_received"] is True
    assert receiver.tell(stopped) == 204
    assert receiver.item()["audio_webhook_received"] is True, "a repeat takes nothing back"


def test_of_a_deleted_bot_nothing_is_left_and_nothing_late_brings_it_back(receiver: Receiver) -> None:
    stopped, _, audio, *_ = change("stopped", "Stopped", 1, "everyone_left")
    assert receiver.tell(stopped) == 204
    assert receiver.tell(deletion(RECORD, 9, iso(NOW + 60))) == 204
    for late in (stopped, audio):
        assert receiver.tell(late) == 204
    assert set(receiver.item()) == {"bot_id", "sequence", "deleted", "expires_at"}


def test_a_webhook_of_the_release_before_counts_by_its_time(receiver: Receiver) -> None:
    [inside] = change("in_meeting", "InMeeting", 2)
    body = {name: value for name, value in json.loads(inside.body).items() if name != "sequence"}
    assert receiver.tell(replace(inside, body=json.dumps(body))) == 204
    assert int(receiver.item()["sequence"]) == int((NOW + 2) * 1000) * 1_000_000


@pytest.mark.parametrize(
    ("secrets", "late_s"), [((FOREIGN,), 0.0), ((SECRET,), -301.0), ((SECRET,), 302.0), ((OLD_SECRET,), -9e8)]
)
def test_what_is_signed_by_others_or_too_old_is_refused(
    secrets: tuple[str, ...], late_s: float, receiver: Receiver
) -> None:
    [joining] = change("joining", "Joining", 1)
    assert receiver.tell(joining, *secrets, at=time.time() + late_s) == 401
    assert receiver.item() == {}
    assert receiver.tell(joining, FOREIGN, OLD_SECRET) == 204


def test_what_is_no_webhook_is_refused_in_words(receiver: Receiver) -> None:
    [joining] = change("joining", "Joining", 1)
    signed = headers(joining, (SECRET,), time.time())
    assert receiver.tell(joining, method="GET") == 405
    assert receiver.call(joining.body.encode() + b" ", signed) == 401
    assert receiver.call(joining.body.encode(), {**signed, "webhook-timestamp": "١٢"}) == 401
    assert receiver.call(b" " * (1 << 20) + b" ", signed) == 413
    for body in ("[]", "{", '{"bot_id": "b"}', '{"bot_id": "b", "event": "bot.joining", "timestamp": "soon"}'):
        assert receiver.tell(replace(joining, body=body)) == 400
    assert _module().handler({"detail": {}})["statusCode"] == 400


def test_a_set_up_that_cannot_work_is_told_and_a_table_that_is_away_is_asked_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    [joining] = change("joining", "Joining", 1)
    with monkeypatch.context() as patch:
        patch.setenv("TABLE", "no-such-table")
        assert receiver.tell(joining) == 500
    with monkeypatch.context() as patch:
        patch.setenv("WEBHOOK_SECRETS", "")
        assert receiver.tell(joining) == 500
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    away = Receiver(_module(), Dynamo("", ""))
    assert away.tell(joining) == 503


def test_every_state_that_webhooks_tell_of_is_known() -> None:
    told = {state for state in BotState if render("1-0", _facts(state), RECORD)}
    assert set(_module()._STATES.values()) == told


def _facts(state: BotState) -> dict[str, str]:
    return {"bot_id": "b", "state": state, "status": "x", "reason": "everyone_left", "attempt": "1", "at": iso(NOW)}


class _Tags(yaml.SafeLoader):
    """A template of CloudFormation, whose tags stand for what is known when it is installed."""


def _plain(_loader: Any, _suffix: str, node: Any) -> Any:
    return node.value


cast("Any", _Tags).add_multi_constructor("!", _plain)


def test_the_template_makes_the_table_of_the_guide_and_a_role_that_may_do_no_more() -> None:
    resources = yaml.load((FOLDER / "template.yaml").read_text(), _Tags)["Resources"]
    table = resources["Bots"]["Properties"]
    assert table["KeySchema"] == [{"AttributeName": "bot_id", "KeyType": "HASH"}]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    policies = resources["ReceiverRole"]["Properties"]["Policies"]
    allowed = {action for policy in policies for action in policy["PolicyDocument"]["Statement"][0]["Action"]}
    assert allowed == {"logs:CreateLogStream", "logs:PutLogEvents", "dynamodb:UpdateItem", "dynamodb:PutItem"}
    variables = resources["Receiver"]["Properties"]["Environment"]["Variables"]
    assert all(f'"{name}"' in (FOLDER / "handler.py").read_text() for name in variables)


def test_its_folder_is_whole(tmp_path: Path) -> None:
    """The handler with its own copy, and nothing else of the project."""
    script = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import handler; print(handler.handler({{}})['body'])"
    done = subprocess.run(
        (sys.executable, "-I", "-c", script), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "WEBHOOK_SECRETS have to be set" in done.stdout, done.stderr
