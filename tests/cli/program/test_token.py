"""`token`: what it prints lets its holder in, and nobody can read the token from what is configured."""

import hashlib
import json
import tomllib

import pytest

from common.config import settings
from poolmgr.api.tokens import Tokens
from tests.cli.conftest import CommandLine

MINE = "a-token-of-mine-1234"


def test_what_is_printed_for_the_configuration_lets_the_token_in(poolmgr: CommandLine) -> None:
    result = poolmgr("token", "crm", "--sees", "own", "--role", "read", "--look", "--bots-at-once", "20")
    assert result.exit_code == 0
    secret, _, lines = result.stdout.partition("\n")
    assert secret.startswith("pm_")
    assert len(secret) == 46
    assert secret not in lines
    assert secret not in result.stderr
    [entry] = settings.parse(lines).api.tokens
    assert (entry.name, entry.sees, entry.role, entry.look, entry.bots_at_once) == ("crm", "own", "read", True, 20)
    assert Tokens([entry]).caller(f"Token {secret}") is entry


def test_two_tokens_are_never_the_same(poolmgr: CommandLine) -> None:
    assert poolmgr.json("token", "crm")["token"] != poolmgr.json("token", "crm")["token"]


def test_for_programs_it_is_json(poolmgr: CommandLine) -> None:
    answer = poolmgr.json("token", "crm")
    assert answer["config"] == {"name": "crm", "sha256": hashlib.sha256(answer["token"].encode()).hexdigest()}


def test_a_token_of_ones_own_is_hashed_and_not_shown(poolmgr: CommandLine) -> None:
    result = poolmgr("token", "crm", "--stdin", stdin=f"{MINE}\n")
    [entry] = tomllib.loads(result.stdout)["api"]["tokens"]
    assert entry["sha256"] == hashlib.sha256(MINE.encode()).hexdigest()
    assert MINE not in result.output
    assert "token" not in json.loads(poolmgr("token", "crm", "--stdin", "--json", stdin=MINE).stdout)


@pytest.mark.parametrize(
    "weak", ["", "short", "x" * 19, "x" * 513, "with a space in its midst", "ünprintable-in-ascii-1"]
)
def test_a_token_that_is_weak_or_cannot_be_sent_is_refused(poolmgr: CommandLine, weak: str) -> None:
    result = poolmgr("token", "crm", "--stdin", stdin=f"{weak}\n")
    assert result.exit_code == 2
    assert "cannot use this token" in result.stderr


@pytest.mark.parametrize("name", ["CRM", "-crm", "a" * 64, "a b", "ü", 'x"'])
def test_a_name_that_the_configuration_would_not_take_is_refused(poolmgr: CommandLine, name: str) -> None:
    result = poolmgr("token", "--", name)
    assert (result.exit_code, "cannot use this name" in result.stderr) == (2, True)


def test_a_webhook_secret_is_one_that_the_configuration_takes(poolmgr: CommandLine) -> None:
    secret = poolmgr("token", "--webhook-secret").stdout.strip()
    assert settings.parse(f'[webhooks]\nsecrets = ["{secret}"]').webhooks.secrets == [secret]
    assert poolmgr.json("token", "--webhook-secret")["webhook_secret"] != secret


@pytest.mark.parametrize("words", [(), ("crm", "--webhook-secret"), ("--webhook-secret", "--stdin")])
def test_it_says_what_is_missing_or_too_much(poolmgr: CommandLine, words: tuple[str, ...]) -> None:
    assert poolmgr("token", *words).exit_code == 2
