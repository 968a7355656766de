"""`support`: what is in the bundle for a bug report, and that nothing is in it which lets anybody in."""

import io
import json
import stat
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from redis import Redis

from common.jobs.record import Job, Record
from common.runtime.exits import EXIT_FAILED, EXIT_NOT_FOUND
from common.wire.vocabulary import BotState, Reason, WorkerState
from poolmgr.core.decisions import Accept, KeepVm, KeepWorker, Move, NoteFailed
from poolmgr.store.keys import Keys
from poolmgr.telling.package import Secrets
from tests.cli.bot.test_bots import Writer, assign
from tests.cli.conftest import CommandLine

PIECE: Final = "abc-defg-hij"
PASSWORD: Final = "Hq7xZ2pL"
PASSCODE: Final = "482913"
HOOK: Final = "hook-key-8d1f"
TOKEN_DIGEST: Final = "ab" * 32
WEBHOOK_SECRET: Final = "whsec_" + "c2VjcmV0LW9mLXdlYmhvb2tzLW9mLW91cnM="
PLANTED: Final = (
    *(PIECE, PASSWORD, PASSCODE, HOOK, TOKEN_DIGEST, WEBHOOK_SECRET, "redis-password", "api-key-in-payload"),
    *("said-in-chat", "acme-customer", "user-4711", "Bearer xyzzy"),
)
LINK: Final = f"https://meet.google.com/{PIECE}?pwd={PASSWORD}"
CONFIG: Final = f"""
[webhooks]
secrets = ["{WEBHOOK_SECRET}"]
[[api.tokens]]
name = "crm"
sha256 = "{TOKEN_DIGEST}"
"""


def job() -> Job:
    pushed = {
        "meeting_link": LINK, "api_key": "api-key-in-payload", "bot_message": "said-in-chat",
        "callback_url": f"https://hooks.example.org/{HOOK}", "headers": {"Authorization": "Bearer xyzzy"},
    }  # fmt: skip
    return Job(
        platform="google_meet", meeting_url=LINK, bot_name="Notes", payload=json.dumps(pushed), passcode=PASSCODE,
        callback_url=f"https://hooks.example.org/{HOOK}", bot_message="said-in-chat", user_id="user-4711",
        custom_attributes='{"account": "acme-customer"}', deduplication_key="acme-customer-1",
    )  # fmt: skip


def evidence() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as bundle:
        bundle.writestr("page.txt", f"Meeting {PIECE} asks for {PASSCODE}; others stay")
        bundle.writestr("screenshot.jpg", b"\xff\xd8picture")
    return out.getvalue()


@pytest.fixture
def write(redis_server: str, redis: Redis, keys: Keys) -> Writer:
    redis.set(keys.epoch, 1)
    return Writer(redis_server, keys)


@pytest.fixture
def failed(write: Writer, redis: Redis, keys: Keys) -> str:
    """A bot that failed, with all that may be known of it."""
    now = time.time()
    detail = f"net::ERR at {LINK}, passcode {PASSCODE}"
    write(KeepVm("vm-1", "session", draining=False, lost=False, stopping=False))
    write(
        Accept("b1", job(), BotState.QUEUED, now, seq=1), assign("b1"), Move("b1", 1, BotState.JOINING, now, "loading")
    )
    write(NoteFailed("b1", 1, Reason.PAGE_LOAD_FAILED, detail, "b1-1"))
    write(KeepWorker("vm-1", "w-1", WorkerState.BUSY, since=now, born=now, bot_id="b1"))
    redis.set(keys.evidence("b1", 1), evidence(), ex=600)
    log = {"event": "bot.joining", "attempt": 1, "at": "", "outcome": "200", "took_s": 0.1, "host": "hooks.example.org"}
    redis.lpush(keys.delivery_log("b1"), json.dumps({"id": "d1", "bot_id": "b1", **log}))
    redis.expire(keys.delivery_log("b1"), 600)
    redis.xadd(keys.actions, {"who": "crm", "way": "api", "what": "leave", "of": "b1", "detail": f"see {LINK}"})
    redis.expire(keys.actions, 600)
    return "b1"


def unpack(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        members = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive.getmembers()}
        return {name: file.read() for name, file in members.items() if file}


def packed(poolmgr: CommandLine, tmp_path: Path, which: str, *options: str) -> dict[str, bytes]:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    poolmgr.environment["POOLMGR_REDIS__URL"] += "?username=default&password=redis-password"
    result = poolmgr("support", which, "--to", str(tmp_path / "x.tar.gz"), "--config", str(config), *options)
    assert result.exit_code == 0, result.stderr
    assert stat.S_IMODE((tmp_path / "x.tar.gz").stat().st_mode) == 0o600
    return unpack(tmp_path / "x.tar.gz")


def assert_holds_no_secret(files: dict[str, bytes]) -> None:
    for name, data in files.items():
        texts = [name.encode(), data]
        if name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(data)) as bundle:
                texts += [bundle.read(member) for member in bundle.infolist()]
        for text in texts:
            for planted in PLANTED:
                assert planted.encode() not in text, (name, planted)


def test_all_that_is_known_of_a_bot_is_there_and_nothing_that_lets_one_in(
    failed: str, poolmgr: CommandLine, tmp_path: Path
) -> None:
    files = packed(poolmgr, tmp_path, failed)
    assert_holds_no_secret(files)
    assert set(files) == {
        *("README.txt", "about.json", "settings.json", "doctor.json", "audit.json"),
        *("bot.json", "story.txt", "story.jsonl", "status.jsonl", "webhooks.json", "actions.jsonl"),
        "evidence/b1-1.zip",
    }
    bot = json.loads(files["bot.json"])["bot"]
    assert (bot["bot_id"], bot["state"], bot["meeting_url"]) == ("b1", "joining", "https://meet.google.com/…")
    assert "attempt 1 came to nothing: page_load_failed" in files["story.txt"].decode()
    assert [json.loads(line)["state"] for line in files["status.jsonl"].splitlines()] == [
        "queued",
        "assigned",
        "joining",
    ]
    about = json.loads(files["about.json"])
    assert about["versions"]["redis"]
    assert about["vms"] == {"vm-1": "silent"}
    assert {check["name"] for check in json.loads(files["doctor.json"])} >= {"redis", "tokens"}
    assert json.loads(files["settings.json"])["pool"]["min_idle"] == 2
    assert json.loads(files["actions.jsonl"])["who"] == "crm"
    with zipfile.ZipFile(io.BytesIO(files["evidence/b1-1.zip"])) as bundle:
        assert bundle.read("page.txt") == b"Meeting *** asks for ***; others stay"
        assert bundle.read("screenshot.jpg") == b"\xff\xd8picture"


def test_evidence_can_be_left_out(failed: str, poolmgr: CommandLine, tmp_path: Path) -> None:
    assert "evidence/b1-1.zip" not in packed(poolmgr, tmp_path, failed, "--without-evidence")


@pytest.mark.usefixtures("failed")
def test_of_a_vm_its_bots_are_told(poolmgr: CommandLine, tmp_path: Path) -> None:
    files = packed(poolmgr, tmp_path, "vm-1")
    assert_holds_no_secret(files)
    assert json.loads(files["vm.json"])["workers"][0]["bot_id"] == "b1"
    assert [bot["bot_id"] for bot in json.loads(files["bots.json"])] == ["b1"]
    assert "bot b1" in files["story.txt"].decode()
    assert len(files["status.jsonl"].splitlines()) == 2  # assigned to it, and joining


def test_it_is_written_here_under_a_name_of_its_own(
    failed: str, poolmgr: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = poolmgr.json("support", failed)
    assert Path(told["path"]).name == told["path"]
    assert told["path"].startswith("poolmgr-support-b1-")
    assert "bot.json" in told["files"]
    assert (tmp_path / told["path"]).stat().st_size == told["bytes"]


def test_who_is_not_known_and_what_cannot_be_written_is_said(failed: str, poolmgr: CommandLine) -> None:
    result = poolmgr("support", "nobody")
    assert (result.exit_code, result.stdout) == (EXIT_NOT_FOUND, "")
    assert "there is no bot and no VM nobody" in result.stderr
    result = poolmgr("support", failed, "--to", "/nowhere/x.tar.gz")
    assert result.exit_code == EXIT_FAILED
    assert "cannot write /nowhere/x.tar.gz: No such file or directory" in result.stderr


def record(**fields: Any) -> Record:
    basics = {"meeting_url": "", "platform": "zoom", "bot_name": "n", "payload": "{}", "state": "queued"}
    return msgspec.convert({**basics, "status": "Joining", "created_at": "", **fields}, Record)


@pytest.mark.parametrize(
    ("link", "secret"),
    [
        ("https://zoom.us/j/98765432101?pwd=aGVsbG8tdGhlcmU", "98765432101"),
        ("https://zoom.us/j/98765432101?pwd=aGVsbG8tdGhlcmU", "aGVsbG8tdGhlcmU"),
        ("https://teams.live.com/meet/9333?p=QXd%2Fcy1wdw", "QXd/cy1wdw"),
        ("https://user:hunter22@jitsi.example.org/OurRoom#config.x=abcd1234", "hunter22"),
        ("https://user:hunter22@jitsi.example.org/OurRoom#config.x=abcd1234", "OurRoom"),
    ],
)
def test_pieces_of_a_link_are_struck_out_wherever_they_stand(link: str, secret: str) -> None:
    secrets = Secrets([record(meeting_url=link)])
    assert secret not in secrets.strike_out(f"before {secret}after")
    assert secrets.strike_out("to meet in the room") == "to meet in the room"


@pytest.mark.parametrize("payload", ["not json: secret-code", "[" * 100_000, '{"a": {"passcode": ["secret-code"]}}'])
def test_a_payload_of_any_shape_is_struck_out(payload: str) -> None:
    secrets = Secrets([record(payload=payload)])
    assert "secret-code" not in secrets.strike_out(f"it was {'secret-code' if payload[0] == '{' else payload}")


def test_evidence_that_cannot_be_read_is_left_out() -> None:
    assert Secrets([]).evidence(b"no zip") == b""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("bomb.txt", b"0" * (17 << 20))
        bundle.writestr("page.txt", b"here")
    with zipfile.ZipFile(io.BytesIO(Secrets([]).evidence(out.getvalue()))) as again:
        assert again.namelist() == ["page.txt"]
