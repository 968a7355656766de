"""A configuration is complete and consistent, or every fault of it is named at once."""

from enum import StrEnum
from typing import Any, Final

import msgspec
import pytest

from wire.settings import BadSettingsError, Settings, parse

KEYS: Final = [
    (section.name, key.name)
    for section in msgspec.structs.fields(Settings)
    for key in msgspec.structs.fields(section.type)
]
# Another valid value for each key whose kind of value alone does not yield one.
OTHER_TEXTS: Final = {
    "url": "rediss://elsewhere:6380/1",
    "listen": "[::1]:9000",
    "level": "debug",
    "format": "json",
    "on_worker_lost": "rejoin",
}


def default_of(section: str, key: str) -> Any:
    return getattr(getattr(Settings(), section), key)


def another(section: str, key: str) -> Any:
    """A valid value of that key which is not its default and contradicts no other."""
    old = default_of(section, key)
    if isinstance(old, bool):
        return not old
    if (section, key) in (("pool", "lost_after_s"), ("pool", "heartbeat_timeout_s")):
        return old + 1
    if (section, key) == ("pool", "min_idle"):
        return old - 1
    if (section, key) == ("pool", "lost_share"):
        return old / 2
    if isinstance(old, int | float):
        return old + 1
    if isinstance(old, list):
        return ["one", "two"]
    return OTHER_TEXTS.get(key, "other")


def faults_of(toml: str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(BadSettingsError) as caught:
        parse(toml, environment)
    assert str(caught.value) == "; ".join(caught.value.faults)
    return caught.value.faults


def test_an_empty_configuration_is_the_defaults() -> None:
    assert parse("") == Settings()
    assert parse("[redis]\n[pool]\n", {}) == Settings()


def test_the_documented_defaults_hold() -> None:
    pool = parse("").pool
    assert (pool.min_idle, pool.max_workers, pool.idle_ttl_s, pool.max_age_s, pool.warmups_at_once) == (
        5,
        12,
        900,
        14400,
        2,
    )


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_can_be_set_in_the_file(section: str, key: str) -> None:
    value = another(section, key)
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    settings = parse(f"[{section}]\n{key} = {text}")
    assert getattr(getattr(settings, section), key) == value != default_of(section, key)


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_can_be_overridden_from_the_environment(section: str, key: str) -> None:
    value = another(section, key)
    old = default_of(section, key)
    text = '["one", "two"]' if key in ("tokens", "room_hosts") else str(value)
    in_file = (
        {True: "true", False: "false"}[old]
        if isinstance(old, bool)
        else repr(str(old) if isinstance(old, StrEnum) else old)
    )
    settings = parse(f"[{section}]\n{key} = {in_file}", {f"POOLMGR_{section}__{key}".upper(): text})
    assert getattr(getattr(settings, section), key) == value != old


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_refuses_a_value_of_another_kind_by_its_name(section: str, key: str) -> None:
    wrong = "{}" if isinstance(default_of(section, key), list) else "[1]"
    assert [fault.split(":")[0] for fault in faults_of(f"[{section}]\n{key} = {wrong}")] == [f"{section}.{key}"]


def test_all_faults_are_reported_at_once_each_by_its_name() -> None:
    faults = faults_of(
        """
        stray = 1
        [redis]
        url = "http://127.0.0.1"
        urll = "redis://127.0.0.1"
        [pool]
        min_idle = "five"
        max_workers = 0
        idle_ttl_s = -1
        [pol]
        min_idle = 1
        [nothing]
        """,
        {"POOLMGR_POOL__MAX_AGE_S": "long", "POOLMGR_NOWHERE__KEY": "1", "POOLMGR_API__TOKEN": "x"},
    )
    assert [fault.split(":")[0] for fault in faults] == [
        "stray",
        "redis.url",
        "redis.urll",
        "pool.min_idle",
        "pool.max_workers",
        "pool.idle_ttl_s",
        "pol.min_idle",
        "nothing",
        "POOLMGR_POOL__MAX_AGE_S",
        "POOLMGR_NOWHERE__KEY",
        "POOLMGR_API__TOKEN",
    ]


def test_a_fault_says_what_is_known() -> None:
    unknown_key, unknown_section = faults_of("[redis]\nurll = 1\n[pol]\nx = 1")
    assert unknown_key == "redis.urll: unknown key (known in [redis]: url, prefix, timeout_s)"
    assert "there is no section [pol] (known: redis, pool," in unknown_section


def test_a_file_that_is_not_toml_is_one_fault() -> None:
    assert len(faults_of("[redis")) == 1
    assert faults_of("x = ")[0].startswith("the file is not TOML: ")


@pytest.mark.parametrize(
    ("toml", "name"),
    [
        ("[pool]\nmin_idle = 13", "pool.min_idle"),
        ("[pool]\nmax_workers = 4", "pool.min_idle"),
        ("[pool]\nlost_after_s = 9", "pool.lost_after_s"),
        ("[pool]\nheartbeat_timeout_s = 3.9", "pool.heartbeat_timeout_s"),
        ("[worker]\nheartbeat_s = 6", "pool.heartbeat_timeout_s"),
        ("[pool]\nbackoff_max_s = 1", "pool.backoff_max_s"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(toml: str, name: str) -> None:
    assert [fault.split(":")[0] for fault in faults_of(toml)] == [name]


def test_all_contradictions_are_reported_at_once() -> None:
    toml = "[pool]\nmin_idle = 20\nlost_after_s = 1\nheartbeat_timeout_s = 2\nbackoff_s = 500"
    assert len(faults_of(toml)) == 4


def test_the_environment_can_repair_a_contradiction() -> None:
    assert parse("[pool]\nmin_idle = 13", {"POOLMGR_POOL__MAX_WORKERS": "13"}).pool.min_idle == 13


@pytest.mark.parametrize("text", ["abc", "[1, 2]", '["a"', "{}"])
def test_a_list_in_the_environment_is_a_toml_array_of_texts(text: str) -> None:
    assert faults_of("", {"POOLMGR_API__TOKENS": text})[0].startswith("POOLMGR_API__TOKENS: ")
    assert parse("", {"POOLMGR_API__TOKENS": '["a b", "c,d"]'}).api.tokens == ["a b", "c,d"]
    assert parse("", {"POOLMGR_API__TOKENS": "[]"}).api.tokens == []


def test_other_variables_are_none_of_ours() -> None:
    assert parse("", {"PATH": "/bin", "POOLMGR_CONFIG": "x", "OTHER_REDIS__URL": "x", "poolmgr_redis__url": "x"}) == (
        Settings()
    )


@pytest.mark.parametrize(
    "toml",
    [
        "[pool]\nidle_ttl_s = nan",
        "[pool]\nidle_ttl_s = inf",
        "[pool]\nidle_ttl_s = 0",
        "[pool]\nmin_idle = 10001",
        "[pool]\nmin_idle = true",
        "[pool]\nmin_idle = 1.5",
        "[lease]\nttl_s = 0.1",
        '[api]\nlisten = "8080"',
        '[api]\nlisten = "::1:8080"',
        '[api]\nlisten = "host:65536"',
        '[api]\nlisten = "host:80\\n"',
        '[api]\ntokens = "secret"',
        '[log]\nlevel = "loud"',
        '[log]\nformat = "xml"',
        '[redis]\nprefix = ""',
        '[redis]\nprefix = "a b"',
        '[redis]\nprefix = "a\\n"',
        '[worker]\nvm_id = "../vm"',
        '[worker]\nvm_id = "vm\\n"',
        '[worker]\nvm_id = "vm#1"',
        '[worker]\nheadless = "no"',
        "redis = 1",
    ],
)
def test_values_that_would_do_harm_are_refused(toml: str) -> None:
    assert len(faults_of(toml)) == 1


@pytest.mark.parametrize("listen", [":0", ":8080", "127.0.0.1:65535", "[::1]:80", "localhost:8080", "host:00080"])
def test_an_address_to_listen_on_is_a_host_and_a_port(listen: str) -> None:
    assert parse(f"[api]\nlisten = '{listen}'").api.listen == listen
