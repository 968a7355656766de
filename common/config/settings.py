"""Every setting of both programs, and how a TOML text and the environment become one. Reads no file itself.

`config.example.toml` says what each key is for; this file says which values it takes. All faults of a configuration
are reported at once, each with the name of its key.
"""

import ipaddress
import tomllib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from common.config import switches
from common.config.credentials import CREDENTIALS, value_of
from common.config.redis_url import Finds, finds, has_hash_tag
from common.errors import PoolmgrError
from common.wire.labels import MOST_LABELS, LabelName, LabelValue
from common.wire.vocabulary import OnWorkerLost

ENVIRONMENT_PREFIX: Final = "POOLMGR_"

Count = Annotated[int, Meta(ge=0, le=10_000)]
Positive = Annotated[int, Meta(ge=1, le=10_000)]
Seconds = Annotated[float, Meta(gt=0, le=10_000_000)]
CpuShare = Annotated[float, Meta(gt=0, le=64)]
Megabytes = Annotated[int, Meta(ge=0, le=10_000_000)]
_PORT: Final = r"(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[0-5]?[0-9]{1,4})"
Listen = Annotated[str, Meta(pattern=rf"^(\[[0-9a-fA-F:]+\]|[^:\[\]\s]*):{_PORT}\Z")]
OptionalServer = Annotated[str, Meta(pattern=rf"^((\[[0-9a-fA-F:]+\]|[^:\[\]\s]+):{_PORT})?\Z")]
OptionalListen = Annotated[str, Meta(pattern=rf"^((\[[0-9a-fA-F:]+\]|[^:\[\]\s]*):{_PORT})?\Z")]
OptionalName = Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,62})?\Z")]
Prefix = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.{}:-]{1,64}\Z")]


TokenName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}\Z")]
TokenSees = Literal["all", "own"]
TokenRole = Literal["operate", "read"]
AccountPlatform = Literal["google_meet", "zoom", "teams", "jitsi", "room"]
_WEB_ADDRESS: Final = r"^https?://[^\s#][^\s]*\Z"
WebAddress = Annotated[str, Meta(pattern=_WEB_ADDRESS)]
OptionalWebAddress = Annotated[str, Meta(pattern=rf"^\Z|{_WEB_ADDRESS}")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_BASE64: Final = "[A-Za-z0-9+/]"
WebhookSecret = Annotated[
    str, Meta(pattern=rf"^whsec_(?:{_BASE64}{{4}}){{8,21}}(?:{_BASE64}{{4}}|{_BASE64}{{3}}=|{_BASE64}{{2}}==)?\Z")
]
"""Base64 of 24 to 66 bytes, with padding."""


WebhookTimestamp = Literal["delivery", "event"]
Size = Annotated[str, Meta(pattern=r"^[1-9][0-9]{2,3}x[1-9][0-9]{2,3}\Z")]
PictureSize = Annotated[str, Meta(pattern=r"^[1-9][0-9]{1,2}[02468]x[1-9][0-9]{1,2}[02468]\Z")]
"""Width and height, even numbers of three or four digits each, such as 1280x720."""

PlatformName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,30}\Z")]
HostName = Annotated[str, Meta(pattern=rf"^[a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?(:{_PORT})?\Z")]


VmLabels = Annotated[dict[LabelName, LabelValue], Meta(max_length=MOST_LABELS)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class RedisSettings(Section, frozen=True):
    url: Annotated[str, Meta(pattern=r"^(unix|rediss?(\+(sentinel|cluster))?)://")] = "redis://127.0.0.1:6379/0"
    prefix: Prefix = "poolmgr"
    timeout_s: Annotated[float, Meta(ge=3, le=600)] = 5.0  # blocking reads wait up to 2 s
    wait_replicas: Annotated[int, Meta(ge=0, le=100)] = 0
    wait_s: Annotated[float, Meta(ge=0.01, le=300)] = 1.0


class PoolSettings(Section, frozen=True):
    min_idle: Count = 5
    min_idle_display: Count = 2
    max_workers: Positive = 12
    idle_ttl_s: Seconds = 900.0
    max_age_s: Seconds = 14400.0
    warmups_at_once: Positive = 2
    warmup_timeout_s: Seconds = 60.0
    backoff_s: Seconds = 2.0
    backoff_max_s: Seconds = 120.0
    claim_timeout_s: Seconds = 15.0
    heartbeat_timeout_s: Seconds = 10.0
    lost_after_s: Seconds = 60.0
    cpu_limit: Annotated[float, Meta(ge=0, le=10)] = 0.9
    listens_cpu_share: CpuShare = 0.14
    sound_cpu_share: CpuShare = 0.2
    picture_cpu_share: CpuShare = 0.35
    sound_memory_mb: Megabytes = 30
    picture_memory_mb: Megabytes = 70
    queue_timeout_s: Seconds = 1800.0
    reserve_ahead_s: Seconds = 60.0
    join_late_limit_s: Annotated[float, Meta(ge=1, le=10_000_000)] = 21600.0
    one_bot_per_meeting: bool = False
    max_attempts: Positive = 3
    leave_within_s: Seconds = 120.0
    overdue_after_s: Seconds = 72000.0
    on_worker_lost: OnWorkerLost = OnWorkerLost.END
    lost_share: Annotated[float, Meta(gt=0, le=1)] = 0.1
    canary_share: Annotated[float, Meta(ge=0, le=0.5)] = 0.05

    def idle_target(self, *, displays: bool) -> int:
        """How many idle workers a VM is to have. `displays`: it makes workers with a display."""
        return self.min_idle + (self.min_idle_display if displays else 0)


class MeetingSettings(Section, frozen=True):
    room_hosts: list[str] = msgspec.field(default_factory=lambda: ["127.0.0.1:8090", "localhost:8090"])
    jitsi_hosts: list[str] = []
    other_hosts: dict[PlatformName, list[HostName]] = {}
    guess_hosts: bool = True
    strict: bool = False


class RetentionSettings(Section, frozen=True):
    bot_s: Seconds = 604800.0
    stream_entries: Annotated[int, Meta(ge=100, le=10_000_000)] = 100_000
    events_s: Seconds = 600.0
    dead_entries: Annotated[int, Meta(ge=100, le=1_000_000)] = 10_000
    vm_s: Seconds = 86400.0
    recording_s: Annotated[float, Meta(ge=0, le=400 * 86400 * 10)] = 0.0


class LeaseSettings(Section, frozen=True):
    ttl_s: Annotated[float, Meta(ge=0.5, le=60)] = 3.0


class TokenSettings(Section, frozen=True):
    """A client of the HTTP API. `sha256`: the hash of its token, in hexadecimal. The token itself is stored nowhere."""

    name: TokenName
    sha256: Sha256
    sees: TokenSees = "all"
    requests_per_s: Annotated[float, Meta(gt=0, le=100_000)] = 50.0
    bots_at_once: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    strict: bool = False
    role: TokenRole = "operate"
    look: bool = False


class ApiSettings(Section, frozen=True):
    listen: Listen = "127.0.0.1:8080"
    tokens: list[TokenSettings] = []
    tls_cert: str = ""
    tls_key: str = ""
    request_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 10.0
    connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    video_required: bool = True
    documents: bool = True
    page: bool = True


class WebhookSettings(Section, frozen=True):
    secrets: list[WebhookSecret] = []
    allow_http: bool = False
    allowed_networks: list[str] = []
    timeout_s: Annotated[float, Meta(gt=0, le=120)] = 15.0
    retry_first_s: Seconds = 5.0
    retry_most_s: Seconds = 3600.0
    retry_for_s: Seconds = 86400.0
    at_once: Positive = 256
    at_once_per_host: Positive = 8
    timestamp: WebhookTimestamp = "delivery"


class EvidenceSettings(Section, frozen=True):
    enabled: bool = True
    keep_s: Seconds = 604800.0
    bundle_kb: Annotated[int, Meta(ge=16, le=16_384)] = 512
    most_mb: Annotated[int, Meta(ge=1, le=1_000_000)] = 256
    upload_url: Annotated[str, Meta(pattern=r"^(https?://[^\s?#]+)?\Z")] = ""
    upload_token_file: str = ""


StoreOption = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,62}\Z")]
Store = Annotated[str, Meta(pattern=r"^(|/[^\x00]*|(s3|gs|az)://[^\s/?#@:]+(/[^\s?#]*)?)\Z")]
"""A folder or the URL of an object store; empty: none. It contains no secrets."""


class CaptureSettings(Section, frozen=True):
    store: Store = ""
    store_options: dict[StoreOption, str] = {}
    storage_class: Annotated[str, Meta(pattern=r"^[A-Za-z_-]{0,40}\Z")] = ""
    audio_kbps: Annotated[int, Meta(ge=16, le=256)] = 96
    video: Literal["tab", "display", "off"] = "tab"
    video_size: PictureSize = "1280x720"
    video_fps: Annotated[int, Meta(ge=1, le=30)] = 15
    video_kbps: Annotated[int, Meta(ge=100, le=20_000)] = 1000
    tracks: bool = False
    name_suffix: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{0,30}\Z")] = ""
    announcement: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{0,500}\Z")] = ""
    spool_mb: Annotated[int, Meta(ge=8, le=1_000_000)] = 512
    store_timeout_s: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    finish_memory_mb: Annotated[int, Meta(ge=128, le=1_000_000)] = 1024
    link_s: Annotated[int, Meta(ge=60, le=604_800)] = 3600

    @property
    def needs_display(self) -> bool:
        """Whether what is recorded is recorded from a virtual display."""
        return bool(self.store) and self.video == "display"


class ProbeSettings(Section, frozen=True):
    """A meeting of the operator's own. Whoever has its link can join, so it is a secret."""

    name: TokenName
    link: Annotated[str, Meta(min_length=1, max_length=2048)]
    passcode: Annotated[str, Meta(max_length=128)] = ""
    bot_name: Annotated[str, Meta(min_length=1, max_length=64)] = "Probe"


class ProbesSettings(Section, frozen=True):
    every_s: Annotated[float, Meta(ge=10, le=604_800)] = 900.0
    links: list[ProbeSettings] = []


class LiveSettings(Section, frozen=True):
    buffer_s: Annotated[float, Meta(ge=1, le=600)] = 10.0
    timeout_s: Annotated[float, Meta(ge=1, le=120)] = 10.0
    deliver_for_s: Seconds = 300.0


OPENAI_URL: Final = "https://api.openai.com/v1"
DEEPGRAM_URL: Final = "https://api.deepgram.com"
ServerAddress = Annotated[str, Meta(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?\Z")]
Language = Annotated[str, Meta(pattern=r"^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4})?\Z")]
"""The language as in BCP 47; empty: the provider detects it."""
ModelName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}\Z")]


class TranscriptionSettings(Section, frozen=True):
    """Speech to text. Names of providers are those that a job gives them."""

    live: Literal["", "deepgram_streaming"] = ""
    after: Literal["", "deepgram", "openai", "whisper"] = ""
    by_track: bool = False
    language: Language = ""
    allow_http: bool = False
    allowed_networks: list[str] = []
    timeout_s: Annotated[float, Meta(ge=1, le=3600)] = 300.0
    deadline_s: Annotated[float, Meta(ge=60, le=604_800)] = 7200.0
    tries: Annotated[int, Meta(ge=1, le=20)] = 5
    at_once: Annotated[int, Meta(ge=1, le=64)] = 2
    deepgram_url: ServerAddress = DEEPGRAM_URL
    deepgram_key_file: str = ""
    deepgram_model: ModelName = "nova-3"
    openai_url: ServerAddress = OPENAI_URL
    openai_key_file: str = ""
    openai_model: ModelName = "whisper-1"
    openai_most_mb: Annotated[int, Meta(ge=1, le=2000)] = 25
    whisper_model: str = ""
    whisper_threads: Annotated[int, Meta(ge=1, le=64)] = 1
    whisper_memory_mb: Annotated[int, Meta(ge=256, le=1_000_000)] = 2048

    @property
    def offered(self) -> tuple[str, ...]:
        """The providers that are set up. A server of the operator's own may need no key."""
        deepgram = self.deepgram_key_file or self.deepgram_url != DEEPGRAM_URL
        openai = self.openai_key_file or self.openai_url != OPENAI_URL
        return (
            *(("deepgram", "deepgram_streaming") if deepgram else ()),
            *(("openai",) if openai else ()),
            *(("whisper",) if self.whisper_model else ()),
        )


class SqsSettings(Section, frozen=True):
    queue_url: str = ""
    endpoint_url: str = ""
    region: str = ""


Time = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z")]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_ALL_DAYS: Final[list[Day]] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class ScalingHours(Section, frozen=True):
    """Hours of the week with limits of their own."""

    begin: Time
    end: Time
    min_vms: Count
    max_vms: Positive
    days: list[Day] = msgspec.field(default_factory=lambda: list(_ALL_DAYS))


KubernetesName = Annotated[str, Meta(pattern=r"^([a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)?\Z")]
ApiAddress = Annotated[str, Meta(pattern=r"^(https?://[^\s?#/]+)?\Z")]
AwsName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9 ._/-]{0,255}\Z")]
GcpName = Annotated[str, Meta(pattern=r"^([a-z]([a-z0-9-]{0,61}[a-z0-9])?)?\Z")]
GcpProject = Annotated[str, Meta(pattern=r"^([a-z0-9][a-z0-9.:-]{0,98}[a-z0-9])?\Z")]
_NEEDED_BY_PROVIDER: Final = {
    "hook": {"command": "the program that it starts"},
    "aws": {"aws_group": "the name of the auto scaling group"},
    "gcp": {
        "gcp_group": "the name of the managed instance group",
        "gcp_location": "its zone, as europe-west1-b, or its region",
    },
}


class ScalingSettings(Section, frozen=True):
    provider: Literal["none", "hook", "kubernetes", "aws", "gcp"] = "none"
    command: list[str] = []
    kubernetes_statefulset: KubernetesName = "poolmgr-worker"
    kubernetes_namespace: KubernetesName = ""
    kubernetes_api_url: ApiAddress = ""
    aws_group: AwsName = ""
    aws_region: AwsName = ""
    aws_terminating_hook: AwsName = ""
    aws_launching_hook: AwsName = ""
    aws_endpoint_url: ApiAddress = ""
    gcp_group: GcpName = ""
    gcp_location: GcpName = ""
    gcp_project: GcpProject = ""
    gcp_api_url: ApiAddress = ""
    timeout_s: Annotated[float, Meta(ge=0.1, le=600)] = 10.0
    every_s: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    lead_time_s: Annotated[float, Meta(gt=0, le=86_400)] = 300.0
    headroom: Annotated[float, Meta(ge=0, le=10)] = 0.25
    min_vms: Count = 1
    max_vms: Positive = 20
    labels: VmLabels = {}
    cool_down_s: Annotated[float, Meta(gt=0, le=604_800)] = 900.0
    hours: list[ScalingHours] = []
    timezone: Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_+/-]{0,63}\Z")] = "UTC"


TableName = Annotated[str, Meta(pattern=r"^([A-Za-z0-9_.-]{3,255})?\Z")]


class MirrorSettings(Section, frozen=True):
    table: TableName = ""
    endpoint_url: ApiAddress = ""
    region: str = ""
    timeout_s: Annotated[float, Meta(ge=0.1, le=600)] = 10.0
    at_once: Annotated[int, Meta(ge=1, le=100)] = 8


class MetricsSettings(Section, frozen=True):
    listen: Listen = "127.0.0.1:9464"


class OtlpSettings(Section, frozen=True):
    endpoint: Annotated[str, Meta(pattern=r"^(https?://[^\s?#]+)?\Z")] = ""
    timeout_s: Annotated[float, Meta(ge=0.1, le=60)] = 5.0


class LogSettings(Section, frozen=True):
    level: Annotated[str, Meta(pattern=r"^(debug|info|warning|error)$")] = "info"
    format: Annotated[str, Meta(pattern=r"^(auto|console|json)$")] = "auto"


class AccountSettings(Section, frozen=True):
    """An account on a platform. `state_file`: the storage state of a signed-in browser, as Playwright writes it."""

    name: TokenName
    platform: AccountPlatform
    state_file: str


_HEADLESS_SHELLS: Final = ("chromium-headless-shell", "chrome-headless-shell", "headless_shell")
"""As Debian names it, as Google and Playwright do, and as Playwright did before."""


def is_headless_shell(program: str) -> bool:
    """Whether it is Chromium's headless shell, by its name. That has no window and cannot capture a tab."""
    return program.rpartition("/")[2] in _HEADLESS_SHELLS


class WorkerSettings(Section, frozen=True):
    vm_id: OptionalName = ""
    labels: VmLabels = {}
    canary: bool = False
    state_dir: str = "/var/lib/poolmgr"
    chromium: str = ""
    headless: bool = True
    display: Literal["", "virtual"] = ""
    display_size: Size = "1280x720"
    devices: Literal["none", "fake"] = "none"
    chromium_arguments: list[str] = []
    warm_pages: list[WebAddress] = []
    warm_pages_refresh_s: Seconds = 21600.0
    warm_pages_mb: Annotated[int, Meta(ge=1, le=10_000)] = 200
    warm_files_refresh_s: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    accounts: list[AccountSettings] = []
    reads_chat: bool = True
    adapters_dir: str = ""
    stun_server: OptionalServer = "stun.l.google.com:19302"
    memory_reserve_mb: Megabytes = 1024
    worker_memory_mb: Annotated[int, Meta(ge=1, le=1_000_000)] = 350
    display_memory_mb: Megabytes = 70
    memory_limit_mb: Annotated[int, Meta(ge=1, le=1_000_000)] = 3000
    heartbeat_s: Seconds = 2.0
    launch_timeout_s: Seconds = 30.0
    page_timeout_s: Seconds = 5.0
    load_timeout_s: Seconds = 60.0
    join_timeout_s: Seconds = 90.0
    leave_timeout_s: Seconds = 8.0
    session_limit_s: Seconds = 64800.0
    unattended_s: Seconds = 300.0
    drain_timeout_s: Seconds = 14400.0
    spot_notices: Literal["off", "aws", "gcp", "azure"] = "off"
    metadata_url: OptionalWebAddress = ""
    metrics_listen: OptionalListen = ""
    look: bool = False

    @property
    def has_headless_shell(self) -> bool:
        """Whether the browser is Chromium's headless shell."""
        return is_headless_shell(self.chromium)


class Settings(Section, frozen=True):
    redis: RedisSettings = RedisSettings()
    pool: PoolSettings = PoolSettings()
    meetings: MeetingSettings = MeetingSettings()
    retention: RetentionSettings = RetentionSettings()
    lease: LeaseSettings = LeaseSettings()
    api: ApiSettings = ApiSettings()
    webhooks: WebhookSettings = WebhookSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    capture: CaptureSettings = CaptureSettings()
    probes: ProbesSettings = ProbesSettings()
    live: LiveSettings = LiveSettings()
    transcription: TranscriptionSettings = TranscriptionSettings()
    sqs: SqsSettings = SqsSettings()
    mirror: MirrorSettings = MirrorSettings()
    scaling: ScalingSettings = ScalingSettings()
    metrics: MetricsSettings = MetricsSettings()
    otlp: OtlpSettings = OtlpSettings()
    log: LogSettings = LogSettings()
    worker: WorkerSettings = WorkerSettings()


class BadSettingsError(PoolmgrError, ValueError):
    """The configuration cannot be used. `faults`: one sentence each, beginning with the key or variable at fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def set_by(variable: str) -> tuple[str, str] | None:
    """Section and key of the setting that a variable of the environment sets. None: it sets none."""
    section, underscores, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
    return (section, key) if underscores and variable.startswith(ENVIRONMENT_PREFIX) else None


def parse(
    toml_text: str, environment: Mapping[str, str] | None = None, credentials: Mapping[str, str] | None = None
) -> Settings:
    """Settings from a TOML text, overridden by `credentials` (name -> text, of those in CREDENTIALS), and these by
    variables such as `POOLMGR_REDIS__URL`.

    Raises: BadSettingsError with all faults.
    """
    try:
        document = tomllib.loads(toml_text)
    except tomllib.TOMLDecodeError as error:
        raise BadSettingsError([f"the file is not TOML: {error}"]) from error
    faults: list[str] = []
    values = _Values(faults)
    for section, keys in document.items():
        if not isinstance(keys, dict):
            faults.append(f"{section}: is not a [section]")
            continue
        if not keys:
            values.kind_of(section, name=section)
        for key, value in keys.items():  # pyright: ignore[reportUnknownVariableType]  # TOML holds anything
            values.put(section, str(key), value, name=f"{section}.{key}")  # pyright: ignore[reportUnknownArgumentType]
    for name, text in (credentials or {}).items():
        credential = CREDENTIALS[name]
        value = value_of(credential, text)
        values.put(credential.section, credential.key, value, name=f"credential {name}", strict=False)
    for variable, text in (environment or {}).items():
        if setting := set_by(variable):
            section, key = setting
            values.put(section, key, _from_environment(text), name=variable, strict=False)
    if not faults:
        faults += _contradictions(values)
    if faults:
        raise BadSettingsError(faults)
    return values.settings()


class _Values:
    """Collects checked values by section. A value that does not fit becomes a fault."""

    def __init__(self, faults: list[str]) -> None:
        self._faults = faults
        self._by_section: dict[str, dict[str, Any]] = {}
        self._sections = {field.name: field.type for field in msgspec.structs.fields(Settings)}

    def kind_of(self, section: str, *, name: str) -> Any:
        """The class of a section; None, with a fault, if there is no such section."""
        if section not in self._sections:
            self._faults.append(f"{name}: there is no section [{section}] (known: {', '.join(self._sections)})")
        return self._sections.get(section)

    def put(self, section: str, key: str, value: Any, *, name: str, strict: bool = True) -> None:
        kind = self.kind_of(section, name=name)
        if kind is None:
            return
        types = {field.name: field.type for field in msgspec.structs.fields(kind)}
        if key not in types:
            self._faults.append(f"{name}: unknown key (known in [{section}]: {', '.join(types)})")
            return
        try:
            checked = msgspec.convert(value, types[key], strict=strict)
        except msgspec.ValidationError as error:
            fault = str(error)
            if _WEB_ADDRESS in fault.replace("\\\\", "\\"):
                fault = "Expected an address that begins with http:// or https:// and holds no space"
            self._faults.append(f"{name}: {fault[0].lower()}{fault[1:]}")
            return
        self._by_section.setdefault(section, {})[key] = checked

    def settings(self) -> Settings:
        return Settings(**{name: self._sections[name](**keys) for name, keys in self._by_section.items()})


def _from_environment(text: str) -> Any:
    """The value of a variable. A list is written as a TOML array (`["a", "b"]`), a table as an inline table, everything
    else as plain text.
    """
    if text.startswith(("[", "{")):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text


def _impatience(pool: PoolSettings, worker: WorkerSettings) -> list[str]:
    """Faults: backstops that would act before the deadlines that they stand behind."""
    faults: list[str] = []
    if pool.leave_within_s < 2 * worker.leave_timeout_s:
        faults.append("pool.leave_within_s: is less than two worker.leave_timeout_s: it would end who just leaves")
    if pool.overdue_after_s < worker.session_limit_s:
        faults.append("pool.overdue_after_s: is less than worker.session_limit_s: it would end bots within that limit")
    return faults


def _same_names(key: str, named: Sequence[AccountSettings | TokenSettings | ProbeSettings]) -> list[str]:
    names = [each.name for each in named]
    return [f"{key}: two have the name {name!r}" for name in sorted(set(names)) if names.count(name) > 1]


def _of_redis(redis: RedisSettings) -> list[str]:
    faults: list[str] = []
    if finds(redis.url) is Finds.IN_A_CLUSTER and not has_hash_tag(redis.prefix):
        faults.append(
            "redis.prefix: Redis Cluster keeps what belongs together in one place only by a hash tag:"
            ' write prefix = "{poolmgr}"'
        )
    if redis.wait_s > redis.timeout_s / 2:
        faults.append("redis.wait_s: is more than half of redis.timeout_s: the answer would come too late")
    return faults


def _of_scaling(scaling: ScalingSettings) -> list[str]:
    faults: list[str] = []
    for key, what in _NEEDED_BY_PROVIDER.get(scaling.provider, {}).items():
        if not getattr(scaling, key):
            faults.append(f'scaling.{key}: is missing: scaling.provider = "{scaling.provider}" needs {what}')
    if scaling.min_vms > scaling.max_vms:
        faults.append(f"scaling.min_vms: {scaling.min_vms} is more than scaling.max_vms ({scaling.max_vms})")
    for hours in scaling.hours:
        name = f"scaling.hours: from {hours.begin} to {hours.end}"
        if hours.min_vms > hours.max_vms:
            faults.append(f"{name} min_vms ({hours.min_vms}) is more than max_vms ({hours.max_vms})")
        if hours.begin == hours.end:
            faults.append(f"{name} is no time: write begin and end that differ")
    return faults


def _contradictions(values: _Values) -> list[str]:
    settings = values.settings()
    pool = settings.pool
    faults = _of_redis(settings.redis)
    if pool.min_idle > pool.max_workers:
        faults.append(f"pool.min_idle: {pool.min_idle} is more than pool.max_workers ({pool.max_workers})")
    if settings.capture.needs_display and pool.min_idle + pool.min_idle_display > pool.max_workers:
        both = f"{pool.min_idle_display} and pool.min_idle ({pool.min_idle})"
        faults.append(f"pool.min_idle_display: {both} are together more than pool.max_workers ({pool.max_workers})")
    if pool.lost_after_s < pool.heartbeat_timeout_s:
        faults.append("pool.lost_after_s: is less than pool.heartbeat_timeout_s")
    if pool.heartbeat_timeout_s < 2 * settings.worker.heartbeat_s:
        faults.append("pool.heartbeat_timeout_s: is less than two worker.heartbeat_s: a late beat would look silent")
    if pool.backoff_max_s < pool.backoff_s:
        faults.append("pool.backoff_max_s: is less than pool.backoff_s")
    api, webhooks = settings.api, settings.webhooks
    worker = settings.worker
    faults += _impatience(pool, worker)
    faults += _of_scaling(settings.scaling)
    faults += [f"worker.chromium_arguments: {fault}" for fault in switches.faults_of(worker.chromium_arguments)]
    faults += _same_names("worker.accounts", worker.accounts)
    faults += _same_names("api.tokens", api.tokens)
    faults += _same_names("probes.links", settings.probes.links)
    if bool(api.tls_cert) is not bool(api.tls_key):
        faults.append("api.tls_cert: goes with api.tls_key; set both or neither")
    if "room" in settings.meetings.other_hosts:
        faults.append("meetings.other_hosts: hosts of the platform room go in meetings.room_hosts")
    if webhooks.retry_most_s < webhooks.retry_first_s:
        faults.append("webhooks.retry_most_s: is less than webhooks.retry_first_s")
    if settings.evidence.upload_token_file and not settings.evidence.upload_url:
        faults.append("evidence.upload_token_file: goes with evidence.upload_url, which is not set")
    if settings.capture.store_options and not settings.capture.store:
        faults.append("capture.store_options: goes with capture.store, which is not set")
    faults += _of_headless_shell(worker, settings.capture, settings.transcription)
    faults += _of_transcription(settings.transcription)
    faults += _no_networks("webhooks.allowed_networks", webhooks.allowed_networks)
    return faults


def _of_headless_shell(
    worker: WorkerSettings, capture: CaptureSettings, transcription: TranscriptionSettings
) -> list[str]:
    if not worker.has_headless_shell:
        return []
    refused = (
        ("worker.headless", not worker.headless, "has no window"),
        ("capture.store", bool(capture.store), "cannot be recorded"),
        ("transcription.live", bool(transcription.live), "gives no live sound"),
    )
    return [
        f"{key}: the headless shell in worker.chromium {why}; name a whole Chromium there"
        for key, is_set, why in refused
        if is_set
    ]


_NEEDED: Final = {
    "deepgram": "transcription.deepgram_key_file (or deepgram_url of a server of yours)",
    "deepgram_streaming": "transcription.deepgram_key_file (or deepgram_url of a server of yours)",
    "openai": "transcription.openai_key_file, or openai_url of a server of yours",
    "whisper": "transcription.whisper_model",
}


def _of_transcription(transcription: TranscriptionSettings) -> list[str]:
    named = (("live", transcription.live), ("after", transcription.after))
    return [
        *(
            f"transcription.{key}: {name} goes with {_NEEDED[name]}, which is not set"
            for key, name in named
            if name and name not in transcription.offered
        ),
        *_no_networks("transcription.allowed_networks", transcription.allowed_networks),
    ]


def _no_networks(key: str, networks: Sequence[str]) -> list[str]:
    faults: list[str] = []
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            faults.append(f"{key}: {error}; write it as 10.1.0.0/16 or fd00::/8")
    return faults
