"""The scenes of the fleet test, as they are listed."""

import re
from pathlib import Path

from click.testing import CliRunner

from lab.systemd.__main__ import main
from lab.systemd.fleet.scenes import SCENES

CHECKOUT = Path(__file__).parents[4]


def test_the_readme_says_of_each_scene_what_was_seen() -> None:
    text = (CHECKOUT / "systemd" / "README.md").read_text()
    _, _, fleet = text.partition("### On a fleet\n")
    assert re.findall(r"^\| `([a-z-]+)` \|", fleet, re.MULTILINE) == list(SCENES)


def test_the_scenes_are_listed_without_root() -> None:
    listed = CliRunner().invoke(main, ["--list"]).output.splitlines()
    assert [line.split()[0] for line in listed] == ["units", "releases", *SCENES]


def test_a_scene_that_does_not_exist_is_named() -> None:
    refused = CliRunner().invoke(main, ["--scene", "flood"])
    assert refused.exit_code == 2
    assert "'flood' is not one of" in refused.output
