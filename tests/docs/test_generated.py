"""The documents say what the code does: names in one are looked up in the other."""

import re
import shlex
from pathlib import Path

import click
import msgspec
import pytest
from prometheus_client.metrics_core import Metric

from common.config.settings import Settings
from common.runtime.clock import Clock
from common.runtime.exits import EXITS
from common.wire.vocabulary import Reason
from docs import generate
from poolmgr.api.observe import ApiMetrics
from poolmgr.cli.root import cli
from poolmgr.core.timers import Timer
from poolmgr.observe.metrics import Metrics
from tests.commands import members
from worker.cli.root import cli as agent_cli
from worker.metrics import AgentMetrics

ROOT = Path(__file__).parents[2]
DOCS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("deploy/*/README.md")]
)
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
PROGRAMS: dict[str, click.Command] = {"poolmgr": cli, "poolmgr-worker": agent_cli}

WRITTEN_BY_THE_BENCH = "docs/performance.md"
PLACEHOLDER = "NAME"
MODULES = {  # what looks like a setting and is none
    "redis.asyncio", "transcription.failed", "transcription.processed", "transcription.skipped",
}  # fmt: skip

by_document = pytest.mark.parametrize("document", DOCS, ids=lambda path: str(path.relative_to(ROOT)))


def test_the_generated_document_is_that_of_the_code() -> None:
    assert generate.TARGET.read_text() == generate.document(), "run: ./dev docs"
    assert generate.SCHEMA.read_text() == generate.schema(), "run: ./dev docs"
    assert generate.OPERATIONS.read_text() == generate.operations(), "run: ./dev docs"


def test_operations_names_every_metric_of_the_code_and_no_other() -> None:
    registry = Metrics(Clock()).registry
    ApiMetrics(registry)
    families: list[Metric] = [*registry.collect(), *AgentMetrics().registry.collect()]
    in_code = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    in_document = {
        re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bpoolmgr_[a-z_]*[a-z]", OPERATIONS)
    }
    assert in_document == in_code


def test_operations_names_every_log_event_of_the_code_and_no_other() -> None:
    in_code = {
        name
        for room in ("poolmgr", "common", "worker")
        for path in ROOT.glob(f"{room}/**/*.py")
        for name in re.findall(r'\blog\.(?:debug|info|warning|error|exception)\(\s*"(\w+)"', path.read_text())
        + re.findall(r'\b_log\.(?:debug|info|warning|error|exception)\(\s*"(\w+)"', path.read_text())
    }
    _, _, section = OPERATIONS.partition("\n## Log events\n")
    assert set(re.findall(r"^\| `(\w+)` \|", section.partition("\n## ")[0], re.MULTILINE)) == in_code


def test_operations_says_of_every_reason_what_to_do() -> None:
    _, _, section = OPERATIONS.partition("\n## A bot did not join\n")
    rows = re.findall(r"^\|([^|]*)\|", section.partition("\n## ")[0], re.MULTILINE)
    ends = {str(reason) for reason in Reason if reason is not Reason.SUPERSEDED}  # which is of an attempt only
    assert ends <= set(re.findall(r"`(\w+)`", "".join(rows)))


def test_operations_names_every_exit_code() -> None:
    codes = {str(way.code) for way in EXITS}
    _, _, section = OPERATIONS.partition("\n## Exit codes\n")
    assert codes <= set(re.findall(r"^\| (\d+) \|", section.partition("\n## ")[0], re.MULTILINE))


LEFT = {"__pycache__"}
"""What stays of a folder when all its files have moved."""


@pytest.mark.parametrize("wing", ["the top level", "poolmgr", "worker", "common", "lab"])
def test_architecture_has_every_folder_among_its_rooms(wing: str) -> None:
    """Those of the top level, and those of the packages that have rooms."""
    listing = ARCHITECTURE.partition("\n## Rooms\n")[2].split("```")[1]
    folder = ROOT
    if wing != "the top level":
        listing = re.split(r"^(?=\w)", listing.partition(f"\n{wing}/")[2], maxsplit=1, flags=re.MULTILINE)[0]
        folder = ROOT / wing
    rooms = {path.name for path in folder.iterdir() if path.is_dir() and {each.name for each in path.iterdir()} - LEFT}
    rooms = {name for name in rooms if name.isidentifier() and name not in ("__pycache__", "build", "dist")}  # of git's
    assert rooms
    assert rooms - set(re.findall(r"(?<![\w./])(\w+)/", listing)) == set()


def test_architecture_names_every_deadline_of_the_manager() -> None:
    assert {f"`{timer}`" for timer in Timer} <= set(re.findall(r"`\w+`", ARCHITECTURE))


@by_document
def test_links_lead_to_something(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://", "mailto:")):
            path, _, heading = target.partition("#")
            linked = (document.parent / path).resolve() if path else document
            assert linked.exists(), f"{document.name}: {target}"
            if heading:
                assert heading in _headings(linked), f"{document.name}: {target}"


def _headings(document: Path) -> set[str]:
    """As the address names them: lower case, spaces as dashes, without other marks."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@by_document
def test_files_that_are_named_are_there(document: Path) -> None:
    names = re.findall(
        r"`((?:common|poolmgr|worker|lab|tests|systemd|docs|deploy)/[\w./]+\.\w+)`", document.read_text()
    )
    expected = [name for name in names if name != WRITTEN_BY_THE_BENCH and PLACEHOLDER not in name]
    assert [name for name in expected if not (ROOT / name).exists()] == []


@by_document
def test_settings_that_are_named_exist(document: Path) -> None:
    sections = {field.name: field.type.__struct_fields__ for field in msgspec.structs.fields(Settings)}
    unknown = [
        f"{section}.{key}"
        for section, key in re.findall(r"`(\w+)\.(\w+)`", document.read_text())
        if section in sections and key not in sections[section]
    ]
    assert set(unknown) <= MODULES


@by_document
def test_commands_that_are_shown_exist(document: Path) -> None:
    tasks = set(re.findall(r"^\./dev ([\w-]+)", _usage_of_dev(), re.MULTILINE))
    for line in _shown_commands(document.read_text()):
        words = shlex.split(line, comments=True)
        if words[0] == "./dev":
            assert words[1] in tasks, line
        else:
            _check(PROGRAMS[words[0]], words[1:], line)


def _usage_of_dev() -> str:
    return (ROOT / "dev").read_text().partition("<<'TEXT'\n")[2].partition("\nTEXT\n")[0]


def _shown_commands(text: str) -> list[str]:
    """Lines of code blocks, with or without a prompt, and code in sentences, as far as they call our programs."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = (re.match(r"(?:poolmgr|poolmgr-worker|\./dev) [a-z][^|&;>]*", line) for line in lines)
    return [match[0].rstrip("…. ") for match in found if match]


def _check(command: click.Command, words: list[str], line: str) -> None:
    options = {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}
    for position, word in enumerate(words):
        if word.startswith("--"):
            assert word.partition("=")[0] in options, line
        elif isinstance(command, click.Group) and word in members(command):
            return _check(members(command)[word], words[position + 1 :], line)
        else:
            assert not isinstance(command, click.Group) or command.invoke_without_command, line
    return None
