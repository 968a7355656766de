"""A real Redis for every test that asks for one: `redis_server` and `prefix`, or `own_redis` to stop and start."""

import gc
import os
import secrets
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, nullcontext
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from redis import Redis

from lab.parts.environment import without_settings
from lab.parts.redis_server import RedisServer
from tests import at_once
from tests.at_once import pytest_runtestloop
from tests.examples import load_profile
from tests.fork_server import ForkServer
from tests.guardian import guarded
from tests.measuring import Measuring
from tests.moto_server import MotoServer
from tests.shared import Shared

__all__ = ["pytest_runtestloop"]

# Behind `&` of a shell Ctrl-C is ignored, and behind `nohup` SIGHUP, by every program that a test starts, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
load_profile()
# The shell may be set to a real fleet: no test, and nothing that one starts, is to see it.
for variable in os.environ.keys() - without_settings().keys():
    del os.environ[variable]
# Each start of Playwright's driver compiles all of it anew: 0.1 s of 0.5.
os.environ["NODE_COMPILE_CACHE"] = str(Path(__file__).parent.parent / ".pytest_cache" / "node")

_AT_ONCE: Final = 10_000
_measuring: Final = Measuring()
_shared: Final = Shared()
_configure_logging: Final = structlog.configure


def _configure_for_now(**settings: Any) -> None:
    """A program that a test runs in this process decides what is logged, and its loggers would stay with that."""
    settings["cache_logger_on_first_use"] = False
    _configure_logging(**settings)


_logging: Any = structlog
_logging.configure = _configure_for_now


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """No fixture: that would take a tenth of the time of a small test, and there are thousands."""
    _measuring.for_test(item)
    before = structlog.get_config()
    try:
        return (yield)
    finally:
        _configure_logging(**before)
        structlog.contextvars.clear_contextvars()


_LONGEST: Final = (
    "tests/lab/chaos/test_short.py",
    "tests/e2e/test_end_to_end.py",
    "tests/e2e/test_demo.py",
    "tests/up/test_up.py",
    "tests/worker/capture/test_recordings.py",
    "tests/worker/meeting/test_session.py",
    "tests/manager/test_manager.py",
    "tests/worker/test_agent.py",
    "tests/worker/platforms/test_screens.py",
    "tests/worker/platforms/test_page.py",
    "tests/lab/chaos/core/test_suite.py",
    "tests/worker/platforms/test_sites.py",
    "tests/worker/pool/test_neighbours.py",
    "tests/worker/pool/test_serving.py",
    "tests/worker/pool/test_takeover.py",
    "tests/lab/platforms/test_sites.py",
    "tests/worker/test_stopped.py",
    "tests/worker/live/test_captions.py",
    "tests/deploy/test_monitoring.py",
    "tests/page/test_browser.py",
    "tests/mirror/test_following.py",
    "tests/common/runtime/redis/failover/test_sentinels.py",
    "tests/manager/test_webhooks.py",
    "tests/worker/capture/test_finishing.py",
)
"""Of the files, in seconds. A file is with one process, and whoever has one of these is not to begin with it last."""

_IN_BROWSERS: Final = ("tests/worker/", "tests/page/", "tests/e2e/", "tests/up/")
_COMPUTE: Final = ("tests/worker/decide/", "tests/worker/transcript/")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_shared)


def pytest_addoption(parser: pytest.Parser) -> None:
    at_once.pytest_addoption(parser)
    parser.addoption("--all", action="store_true", help="also the tests that are marked as long, as CI does")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where no tests are named, long ones are left out unless they are asked for.

    A test may be long if a quicker one tries the same guarantee, perhaps in a smaller scene: on one platform, with
    stand-in browsers, as a unit of the core, with a kill at one moment instead of many. It may also be if it tries a
    convenience and no guarantee, as the layout of a page or a tool of the lab, and a cheaper one of its room stays.
    Of each guarantee a quick one stays: docs/set-up.md, tests/docs/test_guarantees.py.
    """
    are_named = config.args_source is pytest.Config.ArgsSource.ARGS
    if not are_named and not config.getoption("--all"):
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    """Longest first, then what opens browsers, then the rest: with --at-once half of the processes begin there."""
    file = item.nodeid.partition("::")[0]
    if file in _LONGEST:
        return _LONGEST.index(file)
    opens_browsers = file.startswith(_IN_BROWSERS) and not file.startswith(_COMPUTE)
    return len(_LONGEST) + (0 if opens_browsers else 1)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """What is collected stays until the end: the garbage collector need not walk through it again and again."""
    _measuring.for_collection(session.config)
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    with guarded(tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The URL of a server that all tests share: each keeps to its `prefix`."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def fork_server() -> Generator[ForkServer]:
    """Starts our programs as processes of their own, for little."""
    with nullcontext(_shared.fork_server) if _shared.fork_server else ForkServer() as server:
        yield server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of a server of moto's that all tests share: each has a table, group or queue of its own."""
    with nullcontext(_shared.moto) if _shared.moto else MotoServer(tmp_path_factory.mktemp("moto")) as server:
        yield server.url()


@pytest.fixture(scope="session")
def sweepers() -> Generator[Callable[[str], Any]]:
    """Clients, one a server, that delete what tests leave: to connect for each test takes longer than to look."""
    with ExitStack() as clients:

        @cache
        def sweeper(url: str) -> Any:
            redis: Any = Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType]
            return clients.enter_context(redis)

        yield sweeper


@pytest.fixture
def prefix(request: pytest.FixtureRequest, sweepers: Callable[[str], Any]) -> Generator[str]:
    """The test's keys begin with it. They are deleted afterwards: some tests go through all keys of the server."""
    prefix = f"test-{secrets.token_hex(6)}"
    yield prefix
    if "redis_server" in request.fixturenames:
        redis = sweepers(request.getfixturevalue("redis_server"))
        found: Iterator[bytes] = redis.scan_iter(f"{prefix}*", count=_AT_ONCE)
        while keys := list(islice(found, _AT_ONCE)):
            redis.unlink(*keys)


@pytest.fixture
def seed() -> int:
    """Chooses the random moments of a fault test; POOLMGR_SEED repeats a failure, and it is printed with one."""
    seed = int(os.environ.get("POOLMGR_SEED", "1"))
    print(f"POOLMGR_SEED={seed}")
    return seed


@pytest.fixture
def own_redis(tmp_path: Path) -> Generator[RedisServer]:
    """A running server of the test's own, which keeps its data over `stop` and `start`."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder, "always")
    server.start()
    yield server
    server.stop()
