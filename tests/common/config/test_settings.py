"""A configuration is complete and consistent, or every fault of it is named at once."""

import base64
import re
from typing import Any, Final

import msgspec
import pytest

from common.config.settings import BadSettingsError, Settings, TokenSettings, parse

KEYS: Final = [
    (section.name, key.name)
    for section in msgspec.structs.fields(Settings)
    for key in msgspec.structs.fields(section.type)
]
# Another valid value for each key whose kind of value alone does not yield one.
TOKEN: Final = '{ name = "app", sha256 = "' + "0f" * 32 + '", sees = "own", requests_per_s = 5.0, bots_at_once = 7 }'
SHELL: Final = "/usr/lib/chromium/chromium-headless-shell"
HOURS: Final = '{ days = ["mon"], begin = "09:00", end = "17:30", min_vms = 1, max_vms = 2 }'
OTHER_LISTS: Final[dict[str, str]] = {
    "hours": f"[{HOURS}]",
    "tokens": f"[{TOKEN}]",
    "secrets": '["whsec_' + "A" * 32 + '"]',
    "chromium_arguments": '["--mute-audio"]',
    "warm_pages": '["https://meet.google.com/"]',
    "links": '[{ name = "meet", link = "https://meet.google.com/abc-defg-hij" }]',
    "accounts": '[{ name = "ann", platform = "teams", state_file = "/ann.json" }]',
    "allowed_networks": '["10.0.0.0/8", "fd00::/8"]',
}
OTHER_TEXTS: Final = {
    "url": "rediss://elsewhere:6380/1",
    "listen": "[::1]:9000",
    "metrics_listen": "127.0.0.1:9465",
    "level": "debug",
    "format": "json",
    "on_worker_lost": "rejoin",
    "timestamp": "event",
    "display": "virtual",
    "display_size": "1920x1080",
    "video": "off",
    "video_size": "640x360",
    "devices": "fake",
    "provider": "hook",
    "kubernetes_api_url": "http://127.0.0.1:8001",
    "aws_endpoint_url": "https://autoscaling.example",
    "endpoint_url": "https://dynamodb.example",
    "gcp_api_url": "http://127.0.0.1:8002",
    "stun_server": "[::1]:3478",
    "store": "s3://bucket/prefix",
    "upload_url": "https://objects.example/bots",
    "spot_notices": "azure",
    "metadata_url": "http://[fd00:ec2::254]",
    "endpoint": "http://127.0.0.1:4318",
    "live": "deepgram_streaming",
    "after": "openai",
    "language": "de-CH",
    "deepgram_url": "http://10.0.0.5:8080",
    "openai_url": "https://stt.example/v1",
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
    if (section, key) in (("pool", "min_idle"), ("pool", "min_idle_display")):
        return old - 1
    if (section, key) in (("pool", "lost_share"), ("pool", "canary_share")):
        return old / 2
    if isinstance(old, int | float):
        return old + 1
    if key == "store_options":
        return '{ region = "eu-central-1" }'
    if key == "labels":
        return '{ region = "eu" }'
    if isinstance(old, dict):
        return '{ webex = ["webex.example", "localhost:8443"] }'
    if isinstance(old, list):
        return OTHER_LISTS.get(key, '["one", "two"]')
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


def written(value: Any) -> str:
    """As it stands in a TOML file."""
    if isinstance(value, bool):
        return {True: "true", False: "false"}[value]
    if isinstance(value, str) and not value.startswith(('["', "[{", "{ ")):
        return repr(str(value))
    return str(value)


def beside(section: str, key: str) -> str:
    """What has to be set together with it."""
    needs = {
        ("api", "tls_cert"): "tls_key = 'k'",
        ("api", "tls_key"): "tls_cert = 'c'",
        ("evidence", "upload_token_file"): "upload_url = 'https://objects.example/bots'",
        ("capture", "store_options"): "store = 's3://bucket'",
        ("transcription", "live"): "deepgram_key_file = '/k'",
        ("transcription", "after"): "openai_key_file = '/k'",
        ("scaling", "provider"): "command = ['/usr/local/bin/vms']",
    }
    return needs.get((section, key), "")


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_can_be_set_in_the_file(section: str, key: str) -> None:
    value, old = another(section, key), default_of(section, key)
    settings = parse(f"[{section}]\n{key} = {written(value)}\n{beside(section, key)}")
    found = getattr(getattr(settings, section), key)
    assert found == value or isinstance(old, (list, dict))
    assert found != old


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_can_be_overridden_from_the_environment(section: str, key: str) -> None:
    value, old = another(section, key), default_of(section, key)
    in_file = f"[{section}]\n{key} = {written(old)}\n{beside(section, key)}"
    settings = parse(in_file, {f"POOLMGR_{section}__{key}".upper(): str(value)})
    found = getattr(getattr(settings, section), key)
    assert found == value or isinstance(old, (list, dict))
    assert found != old


def test_a_token_is_a_table_with_a_name_and_a_hash_and_defaults_for_the_rest() -> None:
    digest = "0f" * 32
    in_file = parse(f'[[api.tokens]]\nname = "app"\nsha256 = "{digest}"\n').api.tokens
    assert in_file == [TokenSettings("app", digest, "all", 50.0, 0)]
    assert parse("", {"POOLMGR_API__TOKENS": f"[{TOKEN}]"}).api.tokens == [TokenSettings("app", digest, "own", 5.0, 7)]


@pytest.mark.parametrize(
    "tokens",
    [
        '["pm_secret"]',
        '[{ name = "app" }]',
        '[{ name = "app", sha256 = "pm_secret" }]',
        '[{ name = "App!", sha256 = "' + "0f" * 32 + '" }]',
        '[{ name = "app", sha256 = "' + "0f" * 32 + '", sees = "most" }]',
        '[{ name = "app", sha256 = "' + "0f" * 32 + '", scope = 1 }]',
    ],
)
def test_a_token_that_is_none_is_refused_and_not_quoted(tokens: str) -> None:
    (fault,) = faults_of(f"[api]\ntokens = {tokens}")
    assert fault.startswith("api.tokens: ")
    assert "pm_secret" not in fault


@pytest.mark.parametrize("size", range(24, 67))
def test_a_webhook_secret_is_taken_as_base64_writes_it(size: int) -> None:
    text = base64.b64encode(bytes(range(size))).decode()
    assert parse(f'[webhooks]\nsecrets = ["whsec_{text}"]').webhooks.secrets == [f"whsec_{text}"]


@pytest.mark.parametrize("text", ["", "A" * 28, "A" * 33, "A" * 34, "A" * 35, "A" * 32 + "=", "A" * 92, "A" * 31 + "-"])
def test_a_webhook_secret_that_nothing_could_be_signed_with_is_refused_and_not_quoted(text: str) -> None:
    (fault,) = faults_of(f'[webhooks]\nsecrets = ["whsec_{text}"]')
    assert fault.startswith("webhooks.secrets: ")
    assert "A" * 28 not in fault


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
    assert unknown_key == "redis.urll: unknown key (known in [redis]: url, prefix, timeout_s, wait_replicas, wait_s)"
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
        ("[pool]\nleave_within_s = 15", "pool.leave_within_s"),
        ("[worker]\nsession_limit_s = 80000", "pool.overdue_after_s"),
        ("[api]\ntls_cert = 'c'", "api.tls_cert"),
        (f"[api]\ntokens = [{TOKEN}, {TOKEN}]", "api.tokens"),
        ("[webhooks]\nretry_most_s = 1", "webhooks.retry_most_s"),
        ("[scaling]\nprovider = 'hook'", "scaling.command"),
        ("[scaling]\nprovider = 'aws'", "scaling.aws_group"),
        ("[scaling]\nprovider = 'gcp'\ngcp_location = 'europe-west1-b'", "scaling.gcp_group"),
        ("[scaling]\nprovider = 'gcp'\ngcp_group = 'bots'", "scaling.gcp_location"),
        ("[scaling]\nmin_vms = 21", "scaling.min_vms"),
        (f"[scaling]\nhours = [{HOURS}, {HOURS.replace('min_vms = 1', 'min_vms = 3')}]", "scaling.hours"),
        (f"[scaling]\nhours = [{HOURS.replace('09:00', '17:30')}]", "scaling.hours"),
        ("[webhooks]\nallowed_networks = ['10.0.0.1/8']", "webhooks.allowed_networks"),
        ("[transcription]\nallowed_networks = ['10.0.0.1/8']", "transcription.allowed_networks"),
        (f"[worker]\nchromium = '{SHELL}'\nheadless = false", "worker.headless"),
        (f"[worker]\nchromium = '{SHELL}'\n[capture]\nstore = '/srv'", "capture.store"),
        (
            f"[worker]\nchromium = '{SHELL}'\n[transcription]\nlive = 'deepgram_streaming'\ndeepgram_key_file = '/k'",
            "transcription.live",
        ),
        ("[transcription]\nlive = 'deepgram_streaming'", "transcription.live"),
        ("[transcription]\nafter = 'deepgram'\nopenai_key_file = '/k'", "transcription.after"),
        ("[transcription]\nafter = 'whisper'\ndeepgram_key_file = '/k'", "transcription.after"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(toml: str, name: str) -> None:
    assert [fault.split(":")[0] for fault in faults_of(toml)] == [name]


@pytest.mark.parametrize(
    ("chromium", "is_one"),
    [
        (SHELL, True),
        ("/root/.cache/ms-playwright/chromium_headless_shell-1/chrome-linux/headless_shell", True),
        ("chrome-headless-shell", True),
        ("", False),
        ("/usr/lib/chromium/chromium", False),
        ("/opt/chromium-headless-shell/chromium", False),
    ],
)
def test_a_headless_shell_is_known_by_its_name(chromium: str, is_one: bool) -> None:
    assert parse(f"[worker]\nchromium = '{chromium}'").worker.has_headless_shell is is_one


@pytest.mark.parametrize(("idle", "video"), [(10, "display"), (12, "tab"), (12, "off")])
def test_idle_workers_of_both_kinds_have_to_fit_on_a_vm_that_makes_both(idle: int, video: str) -> None:
    capture = f"[capture]\nstore = '/srv'\nvideo = '{video}'"
    pool = parse(f"[pool]\nmin_idle = {idle}\n{capture}").pool
    assert [pool.idle_target(displays=displays) for displays in (False, True)] == [idle, idle + 2]
    [fault] = faults_of("[pool]\nmin_idle = 11\n[capture]\nstore = '/srv'\nvideo = 'display'")
    assert fault.startswith("pool.min_idle_display: 2 and pool.min_idle (11) are together more than")


def test_all_contradictions_are_reported_at_once() -> None:
    toml = "[pool]\nmin_idle = 20\nlost_after_s = 1\nheartbeat_timeout_s = 2\nbackoff_s = 500"
    assert len(faults_of(toml)) == 4


def test_a_token_for_uploads_needs_somewhere_to_show_it() -> None:
    [fault] = faults_of("[evidence]\nupload_token_file = '/etc/poolmgr/token'")
    assert fault.startswith("evidence.upload_token_file: ")


@pytest.mark.parametrize(
    ("toml", "offered"),
    [
        ("", ()),
        ("deepgram_key_file = '/k'", ("deepgram", "deepgram_streaming")),
        ("deepgram_url = 'https://own.example'", ("deepgram", "deepgram_streaming")),
        ("openai_key_file = '/k'", ("openai",)),
        ("openai_url = 'http://10.0.0.5:8000/v1'\nwhisper_model = '/srv/whisper'", ("openai", "whisper")),
    ],
)
def test_who_can_be_asked_for_words_is_whom_the_settings_lead_to(toml: str, offered: tuple[str, ...]) -> None:
    assert parse(f"[transcription]\n{toml}").transcription.offered == offered


@pytest.mark.parametrize("url", ["ftp://x", "https://u:p@x/v1", "https://x/v1?key=1", "https://x/#a", "https://", "x"])
def test_a_provider_is_an_address_of_the_web_without_a_secret(url: str) -> None:
    [fault] = faults_of(f"[transcription]\nopenai_url = '{url}'")
    assert fault.startswith("transcription.openai_url: ")


def test_options_of_a_store_need_a_store() -> None:
    [fault] = faults_of("[capture]\nstore_options = { region = 'eu-central-1' }")
    assert fault.startswith("capture.store_options: ")


@pytest.mark.parametrize("store", ["/srv/recordings", "s3://b", "s3://b/a/b c", "gs://b/x", "az://container/x", ""])
def test_recordings_go_to_a_folder_or_to_an_object_store(store: str) -> None:
    if " " in store:
        assert faults_of(f"[capture]\nstore = '{store}'")
    else:
        assert parse(f"[capture]\nstore = '{store}'").capture.store == store


@pytest.mark.parametrize(
    "store", ["recordings", "s3://", "s3://key:secret@b/x", "s3://b/x?key=1", "http://h/x", "memory:///", "s3://b/x#y"]
)
def test_recordings_go_nowhere_else(store: str) -> None:
    [fault] = faults_of(f"[capture]\nstore = '{store}'")
    assert fault.startswith("capture.store: ")


@pytest.mark.parametrize("url", ["ftp://h/x", "objects.example", "https://h/x?key=1", "https://h/x#y", "https://h/ x"])
def test_bundles_go_to_an_address_of_the_web_without_a_query(url: str) -> None:
    assert faults_of(f"[evidence]\nupload_url = '{url}'")


def test_the_environment_can_repair_a_contradiction() -> None:
    assert parse("[pool]\nmin_idle = 13", {"POOLMGR_POOL__MAX_WORKERS": "13"}).pool.min_idle == 13


@pytest.mark.parametrize("text", ["abc", "[1, 2]", '["a"', "{}"])
def test_a_list_in_the_environment_is_a_toml_array_of_texts(text: str) -> None:
    variable = "POOLMGR_MEETINGS__ROOM_HOSTS"
    assert faults_of("", {variable: text})[0].startswith(f"{variable}: ")
    assert parse("", {variable: '["a b", "c,d"]'}).meetings.room_hosts == ["a b", "c,d"]
    assert parse("", {variable: "[]"}).meetings.room_hosts == []


def test_hosts_by_platform_are_a_table_in_the_file_and_in_the_environment() -> None:
    hosts = {"zoom": ["meet.example"], "my_own2": ["a.example", "b:8443"]}
    table = '{ zoom = ["meet.example"], my_own2 = ["a.example", "b:8443"] }'
    assert parse(f"[meetings]\nother_hosts = {table}").meetings.other_hosts == hosts
    assert parse('[meetings.other_hosts]\nzoom = ["meet.example"]').meetings.other_hosts == {"zoom": ["meet.example"]}
    assert parse("", {"POOLMGR_MEETINGS__OTHER_HOSTS": table}).meetings.other_hosts == hosts


def test_labels_are_a_table_in_the_file_and_in_the_environment() -> None:
    labels = {"region": "eu", "example.org/address": "192.0.2.7", "account": "a b@c"}
    table = '{ region = "eu", "example.org/address" = "192.0.2.7", account = "a b@c" }'
    assert parse(f"[worker]\nlabels = {table}").worker.labels == labels
    assert parse("", {"POOLMGR_WORKER__LABELS": table}).worker.labels == labels
    assert parse("", {"POOLMGR_SCALING__LABELS": table}).scaling.labels == labels


@pytest.mark.parametrize(
    "table",
    [
        '{ "" = "x" }',
        '{ "a b" = "x" }',
        '{ "-a" = "x" }',
        '{ a = "" }',
        '{ a = " x" }',
        '{ a = "x " }',
        '{ a = "x\\n" }',
        '{ "a\\n" = "x" }',
        '{ a = "é" }',
        "{ a = 1 }",
        f'{{ {"a" * 64} = "x" }}',
        f'{{ a = "{"x" * 129}" }}',
        "{ " + ", ".join(f'a{n} = "x"' for n in range(17)) + " }",
    ],
)
def test_labels_that_are_none_are_refused(table: str) -> None:
    assert faults_of(f"[worker]\nlabels = {table}")[0].startswith("worker.labels: ")


@pytest.mark.parametrize(
    "table",
    [
        "{ Zoom = [] }",
        '{ "../x" = [] }',
        '{ zoom = "meet.example" }',
        '{ zoom = ["https://meet.example/"] }',
        '{ zoom = [".meet.example"] }',
        '{ zoom = ["Meet.example"] }',
        '{ zoom = ["meet.example:99999"] }',
        '{ zoom = ["*"] }',
        '{ room = ["meet.example"] }',
    ],
)
def test_a_platform_or_a_host_that_is_none_is_refused(table: str) -> None:
    assert faults_of(f"[meetings]\nother_hosts = {table}")[0].startswith("meetings.other_hosts: ")
    variable = "POOLMGR_MEETINGS__OTHER_HOSTS"
    assert re.match(rf"{variable}: |meetings\.other_hosts: ", faults_of("", {variable: table})[0])


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
        f"[scaling]\nhours = [{HOURS.replace('09:00', '9:00')}]",
        f"[scaling]\nhours = [{HOURS.replace('mon', 'monday')}]",
        '[scaling]\ntimezone = "../etc"',
        '[scaling]\naws_group = "bots*"',
        '[scaling]\naws_endpoint_url = "https://autoscaling.example/path"',
        '[scaling]\ngcp_group = "projects/p/zones/z/bots"',
        '[scaling]\ngcp_location = "Europe"',
        '[scaling]\ngcp_project = "../p"',
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


@pytest.mark.parametrize(
    ("switch", "why"),
    [
        ("--no-sandbox", "run the agent as a user"),
        ("--remote-debugging-port=9222", "the agent chooses"),
        ("--remote-debugging-pipe", "the agent chooses"),
        ("--user-data-dir=/tmp/x", "a folder of its own"),
        ("--headless=old", r"worker\.headless"),
        ("--disable-web-security", "read another's pages"),
        ("--ignore-certificate-errors", "spki-list"),
        ("--disable-blink-features=AutomationControlled", "bots do not hide"),
        ("about:blank", "is no switch"),
        ("--", "is no switch"),
    ],
)
def test_a_switch_that_would_break_a_promise_is_refused_with_the_reason(switch: str, why: str) -> None:
    (fault,) = faults_of(f"[worker]\nchromium_arguments = ['--mute-audio', '{switch}']")
    assert fault.startswith("worker.chromium_arguments: ")
    assert re.search(why, fault)


def test_a_switch_that_names_the_trusted_keys_is_taken() -> None:
    switch = "--ignore-certificate-errors-spki-list=abc="
    assert parse(f"[worker]\nchromium_arguments = ['{switch}']").worker.chromium_arguments == [switch]


def test_two_probes_of_one_name_are_a_fault() -> None:
    link = '{ name = "meet", link = "https://meet.google.com/abc-defg-hij" }'
    assert faults_of(f"[probes]\nlinks = [{link}, {link}]") == ["probes.links: two have the name 'meet'"]


def test_two_accounts_of_one_name_are_a_fault() -> None:
    account = '{ name = "ann", platform = "teams", state_file = "/ann.json" }'
    assert faults_of(f"[worker]\naccounts = [{account}, {account}]") == ["worker.accounts: two have the name 'ann'"]


def test_a_warm_page_is_a_web_address() -> None:
    (fault,) = faults_of("[worker]\nwarm_pages = ['file:///etc/passwd']")
    assert fault == ("worker.warm_pages: expected an address that begins with http:// or https:// and holds no space")
    client = "https://teams.microsoft.com/v2/?meetingjoin=true#/l/meetup-join/"
    assert parse(f"[worker]\nwarm_pages = ['{client}']").worker.warm_pages == [client]


def test_a_credential_counts_more_than_the_file_and_less_than_the_environment() -> None:
    file = '[redis]\nurl = "redis://file:1/0"\n'
    secret = {"redis_url": "redis://:secret@credential:2/0\n"}
    assert parse(file, {}, secret).redis.url == "redis://:secret@credential:2/0"
    assert parse(file, {"POOLMGR_REDIS__URL": "redis://environment:3/0"}, secret).redis.url == "redis://environment:3/0"


def test_secrets_of_webhooks_are_one_on_each_line_of_their_credential() -> None:
    secrets = ["whsec_" + "A" * 32, "whsec_" + "B" * 32]
    assert parse("", {}, {"webhook_secrets": "\n".join(secrets) + "\n"}).webhooks.secrets == secrets


def test_a_credential_that_is_none_is_named_and_not_shown() -> None:
    with pytest.raises(BadSettingsError) as caught:
        parse("", {}, {"webhook_secrets": "hunter2"})
    assert caught.value.faults[0].startswith("credential webhook_secrets: ")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "needed"),
    [('video = "display"\nstore = "/srv"', True), ('video = "display"', False), ('store = "/srv"', False)],
)
def test_a_display_is_needed_where_something_is_recorded_from_it(text: str, needed: bool) -> None:
    assert parse(f"[capture]\n{text}\n").capture.needs_display is needed
