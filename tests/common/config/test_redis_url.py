"""What `redis.url` names, read without asking anybody."""

import pytest

from common.config.redis_url import BadRedisUrlError, Finds, Node, RedisUrl, finds, has_hash_tag, read
from common.config.settings import BadSettingsError, parse

S, C = Finds.BY_SENTINELS, Finds.IN_A_CLUSTER


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://127.0.0.1:6379/0", RedisUrl(Finds.DIRECTLY, "redis://127.0.0.1:6379/0")),
        ("unix:///run/redis,1.sock?db=1", RedisUrl(Finds.DIRECTLY, "unix:///run/redis,1.sock?db=1")),
        (
            "redis+sentinel://a:1,b/pool",
            RedisUrl(S, "redis://a:1/0", (Node("a", 1), Node("b", 26379)), "pool", "redis://a:1/0"),
        ),
        (
            "rediss+sentinel://u:p%40@[::1]:1/my%20pool/3?ssl_ca_certs=/ca&sentinel_password=s%2F",
            RedisUrl(
                S, "rediss://u:p%40@[::1]:1/3?ssl_ca_certs=%2Fca", (Node("::1", 1),), "my pool",
                "rediss://:s%2F@[::1]:1/0?ssl_ca_certs=%2Fca",
            ),
        ),
        (
            "rediss+sentinel://a/pool?sentinel_ssl=No&sentinel_username=ada&sentinel_password=p",
            RedisUrl(S, "rediss://a:26379/0", (Node("a", 26379),), "pool", "redis://ada:p@a:26379/0"),
        ),
        (
            "redis+sentinel://a/pool?sentinel_ssl=true",
            RedisUrl(S, "redis://a:26379/0", (Node("a", 26379),), "pool", "rediss://a:26379/0"),
        ),
        (
            "redis+cluster://:p@a,b:7000/0",
            RedisUrl(C, "redis://:p@a:6379/0", (Node("a", 6379), Node("b", 7000))),
        ),
        ("rediss+cluster://a", RedisUrl(C, "rediss://a:6379/0", (Node("a", 6379),))),
    ],
)  # fmt: skip
def test_a_url_names_one_server_or_whom_to_ask(url: str, expected: RedisUrl) -> None:
    assert read(url) == expected
    assert finds(url) is expected.finds


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("redis://a,b/0", "names several servers"),
        ("redis://a/hunter2", "the number of a database"),
        ("redis+sentinel://a:1,:hunter2@b", "names no service"),
        ("redis+sentinel://a", "names no service"),
        ("redis+sentinel://a/", "names no service"),
        ("redis+sentinel://a/pool/0/hunter2", "names no service"),
        ("redis+sentinel://a/pool/hunter2", "the number of a database"),
        ("redis+sentinel://:hunter2@/pool", "names no host"),
        ("redis+sentinel://a,,b/pool", "a comma too many"),
        ("redis+sentinel://a/pool?sentinel_ssl=hunter2", "true or false"),
        ("redis+sentinel://a/pool?sentinel_username=hunter2", "without sentinel_password"),
        ("redis+cluster://a/1", "only 0"),
        ("redis+cluster://a?sentinel_password=hunter2", "a cluster has none"),
    ],
)
def test_what_is_wrong_with_one_is_said_without_quoting_it(url: str, fault: str) -> None:
    with pytest.raises(BadRedisUrlError, match=fault) as raised:
        read(url)
    assert "hunter2" not in str(raised.value)


def test_a_port_that_is_none_is_a_wrong_url() -> None:
    with pytest.raises(ValueError, match="Port"):
        read("redis+cluster://a:b")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("poolmgr", False), ("{poolmgr}", True), ("a{b}c", True), ("{}", False), ("{x", False), ("x}{", False)],
)
def test_a_hash_tag_is_what_the_first_braces_enclose(prefix: str, expected: bool) -> None:
    assert has_hash_tag(prefix) is expected


def test_a_cluster_needs_a_prefix_with_a_hash_tag() -> None:
    toml = "[redis]\nurl = 'redis+cluster://a'"
    with pytest.raises(BadSettingsError, match=r"redis.prefix: .*\{poolmgr\}"):
        parse(toml)
    assert parse(toml + "\nprefix = '{poolmgr}'").redis.prefix == "{poolmgr}"


def test_replicas_are_not_waited_for_longer_than_half_of_an_answer() -> None:
    with pytest.raises(BadSettingsError, match=r"redis.wait_s: is more than half of redis.timeout_s"):
        parse("[redis]\nwait_s = 3")
    assert parse("[redis]\nwait_s = 3\ntimeout_s = 6").redis.wait_s == 3
