"""The images and the compose file: what they name is there, and their settings are settings."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.config.credentials import CREDENTIALS
from common.config.settings import parse

DEPLOY = Path(__file__).parents[2] / "deploy"
ROOT = DEPLOY.parent
DOCKERFILE = (DEPLOY / "container/Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
PROFILE: dict[str, Any] = json.loads((DEPLOY / "container/seccomp.json").read_text())


def stages() -> dict[str, str]:
    """Each stage's lines."""
    parts = re.split(r"^FROM (\S+) AS (\w+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[2::3], parts[3::3], strict=True))


@pytest.mark.parametrize("stage", ["manager", "worker"])
def test_no_image_runs_as_root_and_process_1_reaps(stage: str) -> None:
    text = stages()[stage]
    [uid] = re.findall(r"^USER (\d+):\d+$", text, re.MULTILINE)
    assert int(uid) > 0
    assert f"--uid {uid} " in text
    assert re.search(r'^ENTRYPOINT \["/usr/bin/tini", "--", ', text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", text, re.MULTILINE)


def test_what_is_copied_is_there_and_let_through() -> None:
    copied = {line.split()[1] for line in DOCKERFILE.splitlines() if re.match(r"COPY (?!--)", line)}
    ignored = (DEPLOY / "container/Dockerfile.dockerignore").read_text().splitlines()
    let_through = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert "*" in ignored
    assert [path for path in copied if not any(path.startswith(prefix) for prefix in let_through)] == []
    assert [path for path in copied - {"dist"} if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("stage", ["base", "manager", "worker"])
def test_every_variable_of_an_image_is_a_setting(stage: str) -> None:
    found = dict(re.findall(r"(POOLMGR_[A-Z]+__[A-Z_]+)=(\S+)", stages()[stage]))
    parse("", found)


def allowed() -> set[str]:
    """Without a condition on their arguments."""
    rules = PROFILE["syscalls"]
    return {
        name for rule in rules if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args") for name in rule["names"]
    }


def test_the_profile_lets_chromium_make_its_sandbox_and_refuses_what_it_does_not_know() -> None:
    assert allowed() >= {"clone", "clone3", "unshare", "chroot", "seccomp", "prctl", "setns", "execve", "futex"}
    assert PROFILE["defaultAction"] == "SCMP_ACT_ERRNO"
    never = {"bpf", "init_module", "kexec_load", "perf_event_open", "userfaultfd", "open_by_handle_at", "swapon"}
    assert not allowed() & never


def test_the_profile_is_one_that_a_kubelet_reads() -> None:
    """As the OCI has it: flat, with nothing that only Docker or Podman would resolve."""
    assert set(PROFILE) == {"defaultAction", "defaultErrnoRet", "architectures", "syscalls"}
    keys = {key for rule in PROFILE["syscalls"] for key in rule}
    assert keys == {"names", "action", "args", "errnoRet"}
    refused = {name for rule in PROFILE["syscalls"] if rule["action"] != "SCMP_ACT_ALLOW" for name in rule["names"]}
    assert not refused & allowed()


def test_every_part_of_the_compose_file_is_there() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"redis", "manager", "worker", "prometheus"}
    for name, service in services.items():
        for kind in ("secrets", "networks"):
            assert [value for value in service.get(kind, []) if value not in COMPOSE[kind]] == [], name
        for config in service.get("configs", []):
            assert (DEPLOY / "compose" / COMPOSE["configs"][config["source"]]["file"]).is_file()
        assert [other for other in service.get("depends_on", {}) if other not in services] == []
        for volume in service.get("volumes", []):
            source, colon, _ = volume.partition(":")
            assert not colon or source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", ["manager", "worker"])
def test_both_programs_of_the_compose_file_are_bounded_and_without_privileges(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["environment"]["CREDENTIALS_DIRECTORY"] == "/run/secrets"
    assert [secret for secret in service["secrets"] if secret not in CREDENTIALS] == []
    assert service["build"]["target"] == name
    assert (DEPLOY / "compose" / service["build"]["context"]).resolve() == ROOT
    assert "mem_limit" in service


def test_a_worker_has_what_a_bot_needs_and_time_to_end_its_call() -> None:
    worker = COMPOSE["services"]["worker"]
    settings = parse((DEPLOY / "compose/config.toml").read_text())
    bots = settings.pool.max_workers
    assert (worker["mem_limit"], worker["cpus"], worker["shm_size"]) == (f"{2 * bots}g", 2.0 * bots, f"{2 * bots}gb")
    hours, minutes = re.fullmatch(r"(\d+)h(\d+)m", worker["stop_grace_period"]).groups()  # pyright: ignore[reportOptionalMemberAccess]
    assert int(hours) * 3600 + int(minutes) * 60 >= settings.worker.drain_timeout_s + 30
    [profile] = [option.partition("=")[2] for option in worker["security_opt"] if option.startswith("seccomp=")]
    assert (DEPLOY / "compose" / profile).resolve() == DEPLOY / "container/seccomp.json"
