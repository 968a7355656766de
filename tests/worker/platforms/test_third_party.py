"""An adapter of another distribution, installed beside the agent as pip does it: a module and its metadata."""

import sys
from pathlib import Path

import pytest

from worker.platforms.third_party import BadAdapterError, discover

RULES = """
screen = [
  { name = "in_meeting", rule = "in", visible = ["#in"] },
  { name = "name_prompt", rule = "name", visible = ["#name"] },
]
actions = { join = ["#join"], leave = ["#leave"] }
"""
MODULE = """
from pathlib import Path
from worker.platforms.page import PageAdapter


def webex():
    return PageAdapter("webex", Path(__file__).with_name("webex.toml"), lambda join: join.meeting_url + "?web=1")


class Own:
    platform, rules = "webex", None
    def address(self, join): return join.meeting_url
    async def observe(self, page, timeout_s, request): ...
    async def act(self, page, action, join, timeout_s): ...
    async def say(self, page, text, timeout_s): ...


own = Own()
nothing = object
def broken(): raise RuntimeError("no luck")
"""
BUILT_IN = ("google_meet", "room")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "webex_for_bots", raising=False)
    (tmp_path / "webex_for_bots.py").write_text(MODULE)
    (tmp_path / "webex.toml").write_text(RULES)
    return tmp_path


def install(site: Path, entry_point: str, name: str = "webex-for-bots") -> None:
    info = site / f"{name.replace('-', '_')}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[poolmgr.adapters]\n{entry_point}\n")


@pytest.mark.parametrize("what", ["webex", "own", "Own"])
def test_an_adapter_that_is_installed_is_found(site: Path, what: str) -> None:
    install(site, f"webex = webex_for_bots:{what}")
    found = discover(BUILT_IN)
    assert {name: adapter.platform for name, adapter in found.items()} == {"webex": "webex"}


def test_where_none_is_installed_none_is_found() -> None:
    assert discover(BUILT_IN) == {}


@pytest.mark.parametrize(
    ("entry_point", "why"),
    [
        ("webex = webex_for_bots:broken", "RuntimeError: no luck"),
        ("webex = webex_for_bots:missing", "AttributeError: "),
        ("webex = no_such_module:x", "ModuleNotFoundError: "),
        ("webex = webex_for_bots:nothing", "is no adapter: it needs platform, rules"),
        ("other = webex_for_bots:webex", "says that its platform is 'webex'"),
        ("Web-Ex = webex_for_bots:webex", "'Web-Ex' is no platform's name"),
        ("room = webex_for_bots:webex", "room is joined by this release itself"),
    ],
)
def test_one_that_cannot_be_used_is_told_with_its_distribution(site: Path, entry_point: str, why: str) -> None:
    install(site, entry_point)
    with pytest.raises(BadAdapterError) as caught:
        discover(BUILT_IN)
    assert "webex-for-bots 0.1" in str(caught.value)
    assert why in str(caught.value)


def test_two_for_one_platform_are_told(site: Path) -> None:
    install(site, "webex = webex_for_bots:webex")
    install(site, "webex = webex_for_bots:own", "other-webex")
    with pytest.raises(BadAdapterError, match="another distribution has one for webex"):
        discover(BUILT_IN)
