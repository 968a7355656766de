"""A client of real sentinels: where it goes, when the primary fails, stands still, or is another one."""

import asyncio
import datetime
import ipaddress
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.exceptions import ConnectionError, ResponseError

from common.config.settings import RedisSettings
from common.runtime.redis.client import UNAVAILABLE, address, connect, url_fault
from common.runtime.redis.failover.primary import LOOK_S
from common.runtime.redis.roundtrip import UnconfirmedError, carry_out
from common.runtime.redis.scripts import resign
from lab.parts.redis_fleet import HOST, SERVICE, Server, WatchedRedis
from tests.waiting import PATIENCE_S, wait_until

SOON_S = 60.0
TIMEOUT_S = 3.0
BLOCK_S = 1.0
SILENT_S = 0.5


@pytest.fixture
def watched(tmp_path: Path) -> Generator[WatchedRedis]:
    """Of one test: sentinels remember for long what they saw. A busy machine may hold up a server for seconds, and none
    takes over for that.
    """
    secrets: dict[str, Any] = {"password": "of/redis", "sentinel_password": "of-sentinels"}
    with WatchedRedis(tmp_path, down_after_s=PATIENCE_S, **secrets) as redis:
        yield redis


@contextmanager
def taking_over(watched: WatchedRedis) -> Generator[None]:
    """Meanwhile one does after a moment of silence."""
    watched.set_down_after(SILENT_S)
    yield
    watched.set_down_after(PATIENCE_S)


def settings_of(watched: WatchedRedis, *, timeout_s: float = PATIENCE_S, **others: Any) -> RedisSettings:
    return RedisSettings(url=watched.url, timeout_s=timeout_s, **others)


@pytest.fixture
async def redis(watched: WatchedRedis) -> AsyncGenerator[Any]:
    client = connect(settings_of(watched))
    yield client
    await client.aclose()


async def follows_again(watched: WatchedRedis, before: Server) -> None:
    """The old primary is a replica. Sentinels make it one themselves, after ten seconds."""
    await wait_until(before.answers)
    before.say("REPLICAOF", HOST, watched.primary().port)
    await wait_until(lambda: before.say("ROLE")[3] == b"connected")
    await wait_until(lambda: all(not _misses_one(sentinel) for sentinel in watched.sentinels))


def _misses_one(sentinel: Server) -> bool:
    """Whether it knows of no replica yet, or has not heard of that or the primary for a while."""
    with sentinel.client() as client:
        replicas = client.sentinel_slaves(SERVICE)
        flags = [str(each["flags"]) for each in (client.sentinel_master(SERVICE), *replicas)]
        return not replicas or any("down" in flag for flag in flags)


async def until_written(redis: Any, key: str) -> float:
    """How long it took until that was written."""
    began = time.monotonic()

    async def written() -> bool:
        with suppress(*UNAVAILABLE):
            return bool(await redis.set(key, "x", ex=600))
        return False

    await wait_until(written)
    return time.monotonic() - began


async def test_calls_go_to_the_primary_of_the_service_with_both_passwords(
    watched: WatchedRedis, redis: Any, prefix: str
) -> None:
    assert await redis.set(prefix, "here", ex=600)
    assert (await redis.role())[0] == b"master"
    sentinels = ",".join(f"{HOST}:{sentinel.port}" for sentinel in watched.sentinels)
    assert address(settings_of(watched)) == f"redis+sentinel://{sentinels}/{SERVICE}"
    assert not url_fault(settings_of(watched))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((f"/{SERVICE}/", "/other/"), "knows no service 'other'"),
        pytest.param(
            ("sentinel_password=of-sentinels", "sentinel_password=wrong"),
            "invalid username-password pair",
            marks=pytest.mark.long,
        ),
        pytest.param((f"@{HOST}", f"@{HOST}:1,{HOST}"), "", marks=pytest.mark.long),
    ],
)
async def test_what_the_sentinels_say_against_it_is_told(
    change: tuple[str, str], words: str, watched: WatchedRedis
) -> None:
    client: Any = connect(RedisSettings(url=watched.url.replace(*change), timeout_s=PATIENCE_S))
    try:
        if not words:  # one sentinel of four that is not there is no fault
            assert await client.ping()
            return
        with pytest.raises(ConnectionError, match=words):
            await client.ping()
    finally:
        await client.aclose()


async def test_a_primary_that_is_killed_is_left_for_its_replica_and_scripts_come_along(
    watched: WatchedRedis, redis: Any, prefix: str
) -> None:
    call = resign(name=f"{prefix}:lock", holder="me")
    await redis.set(f"{prefix}:lock", "other", ex=600)
    assert not await call.run(redis)
    before = watched.primary()
    waiting = asyncio.get_running_loop().create_task(
        redis.blmove(f"{prefix}:a", f"{prefix}:b", BLOCK_S), name="a blocking read"
    )
    await wait_until(lambda: b"blmove" in before.say("CLIENT", "LIST", "TYPE", "normal"))
    with taking_over(watched):
        before.kill()
        with pytest.raises(UNAVAILABLE):
            await waiting
        await until_written(redis, prefix)
    assert watched.primary() is not before
    watched.primary().say("SCRIPT", "FLUSH")  # a replica may have them, or not
    await redis.set(f"{prefix}:lock", "me", ex=600)
    assert await call.run(redis)
    before.start()
    await follows_again(watched, before)


@pytest.mark.long
async def test_one_that_stands_still_is_noticed_within_the_time_of_one_answer(
    watched: WatchedRedis, redis: Any, prefix: str
) -> None:
    await redis.set(prefix, "x", ex=600)
    hasty: Any = connect(settings_of(watched, timeout_s=TIMEOUT_S))
    before = watched.primary()
    before.pause()
    try:
        with taking_over(watched):
            began = time.monotonic()
            with pytest.raises(UNAVAILABLE):
                await hasty.blmove(f"{prefix}:a", f"{prefix}:b", BLOCK_S)
            assert time.monotonic() - began < SOON_S
            await until_written(hasty, prefix)
        assert watched.primary() is not before
    finally:
        before.resume()
        await hasty.aclose()
    await follows_again(watched, before)


@pytest.mark.long
async def test_a_primary_that_knows_nothing_of_its_replacement_is_left_as_well(
    watched: WatchedRedis, redis: Any, prefix: str
) -> None:
    """As when it is cut off from the sentinels and not from us: it answers, and what it takes is lost."""
    before = watched.primary()
    after = next(server for server in watched.redises if server is not before)
    await redis.set(prefix, "x", ex=600)
    after.say("REPLICAOF", "NO", "ONE")
    for sentinel in watched.sentinels:
        sentinel.say("SENTINEL", "REMOVE", SERVICE)
        sentinel.say("SENTINEL", "MONITOR", SERVICE, HOST, after.port, 2)
        sentinel.say("SENTINEL", "SET", SERVICE, "auth-pass", "of/redis")
    watched.set_down_after(PATIENCE_S)

    async def has_moved() -> bool:
        await redis.set(f"{prefix}:moved", "x", ex=600)
        return bool(after.say("EXISTS", f"{prefix}:moved"))

    began = time.monotonic()
    await wait_until(has_moved)
    assert time.monotonic() - began < LOOK_S + SOON_S / 2
    await follows_again(watched, before)


async def test_a_write_that_no_replica_has_counts_as_an_outage_and_so_does_its_repeat(
    watched: WatchedRedis, prefix: str
) -> None:
    client: Any = connect(settings_of(watched, wait_replicas=1, wait_s=0.2))
    patient: Any = connect(settings_of(watched, wait_replicas=1, wait_s=PATIENCE_S))
    replica = next(server for server in watched.redises if server is not watched.primary())
    held = resign(name=prefix, holder="me")
    await carry_out(patient, "SET", prefix, "me", "EX", 600)
    replica.pause()
    try:
        with pytest.raises(UnconfirmedError, match=r"0 of 1 replicas had it within 0.2 s"):
            await held.run(client)
        assert watched.primary().say("EXISTS", prefix) == 0
        # Nothing is left for it to change, on whatever connection, and yet it is not taken for done.
        await client.connection_pool.disconnect()
        with pytest.raises(UnconfirmedError):
            await held.run(client)
        with pytest.raises(ResponseError, match="not an integer"):  # what is refused needs no replica
            await carry_out(client, "INCRBY", prefix, "x")
    finally:
        replica.resume()
    assert not await held.run(patient)
    for each in (client, patient):
        await each.aclose()


async def test_all_of_it_speaks_tls(tmp_path: Path, prefix: str) -> None:
    certificate = certificate_for(HOST, tmp_path)
    how: dict[str, Any] = {"sentinels": 1, "password": "of/redis", "certificate": certificate}
    with WatchedRedis(tmp_path, down_after_s=PATIENCE_S, **how) as watched:
        client: Any = connect(settings_of(watched))
        try:
            assert await client.set(prefix, "x", ex=600)
        finally:
            await client.aclose()
        other: Any = connect(RedisSettings(url=watched.url.partition("?")[0], timeout_s=PATIENCE_S))
        with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            await other.ping()
        await other.aclose()


def certificate_for(host: str, folder: Path) -> Path:
    """A key and its certificate, which signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")]), datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
    of_host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    signed = built.add_extension(of_host, critical=False).sign(key, hashes.SHA256())
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file = folder / "certificate.pem"
    file.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()) + signed.public_bytes(encoding))
    return file
