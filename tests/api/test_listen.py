"""Addresses, TLS, and which of health, metrics and API is served where."""

import ssl
import subprocess
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from common.config.settings import MetricsSettings
from poolmgr.api.listen import CannotListenError, serve, tls_context
from tests.api.conftest import TOKEN, World


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    names = ("-keyout", key, "-out", cert, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run([*command, *names], check=True, capture_output=True)
    return str(cert), str(key)


async def _get(url: str, **options: object) -> int:
    async with aiohttp.ClientSession() as session, session.get(url, **options) as answer:  # pyright: ignore[reportArgumentType]
        return answer.status


async def test_the_api_is_served_over_tls(world: World, certificate: tuple[str, str]) -> None:
    cert, key = certificate
    async with world.serving(cert=cert, key=key) as call:
        url = f"{call.base.replace('http://', 'https://')}/api/v1/bots"
        headers = {"Authorization": f"Token {TOKEN}"}
        assert await _get(url, ssl=ssl.create_default_context(cafile=cert), headers=headers) == 200
        old = ssl.create_default_context(cafile=cert)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(aiohttp.ClientConnectorError):
            await _get(url, ssl=old)


@pytest.mark.parametrize("broken", ["missing", "empty", "swapped", "of another"])
def test_a_certificate_that_cannot_be_used_is_told_with_its_setting(
    certificate: tuple[str, str], tmp_path: Path, broken: str
) -> None:
    cert, key = certificate
    (tmp_path / "empty").write_text("")
    pair = {
        "missing": (f"{cert}.not", key),
        "empty": (str(tmp_path / "empty"), key),
        "swapped": (key, cert),
        "of another": (cert, str(tmp_path / "other")),
    }[broken]
    if broken == "of another":
        subprocess.run(
            ("openssl", "genpkey", "-algorithm", "ed25519", "-out", pair[1]), check=True, capture_output=True
        )
    with pytest.raises(CannotListenError, match=r"cannot serve TLS with .*; change api\.tls_cert and api\.tls_key"):
        tls_context(*pair)


async def test_an_address_that_is_taken_is_told_with_its_setting(world: World) -> None:
    async with world.serving():
        with pytest.raises(CannotListenError, match=r"cannot listen on .*; change api\.listen"):
            await serve(web.Application(), world.settings.api.listen, "api.listen")


async def test_metrics_are_served_apart_from_the_api_and_health_beside_both(world: World) -> None:
    async with world.leading() as call:
        metrics = f"http://{world.settings.metrics.listen}"
        assert [await _get(f"{base}/healthz") for base in (call.base, metrics)] == [200, 200]
        assert [await _get(f"{base}/readyz") for base in (call.base, metrics)] == [200, 200]
        assert [await _get(f"{base}/metrics") for base in (call.base, metrics)] == [404, 200]
        assert [await _get(f"{base}/api/v1/bots") for base in (call.base, metrics)] == [401, 404]


async def test_one_address_serves_it_all_if_it_is_the_only_one(world: World) -> None:
    world.settings = msgspec.structs.replace(world.settings, metrics=MetricsSettings(world.settings.api.listen))
    async with world.leading() as call:
        paths = ("/healthz", "/metrics", "/api/v1/docs")
        assert [await _get(f"{call.base}{path}") for path in paths] == [200, 200, 200]
