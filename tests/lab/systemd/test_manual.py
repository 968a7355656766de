"""systemd/README.md, as the fleet test reads it."""

import os
from pathlib import Path

from lab.systemd import manual

CHECKOUT = Path(__file__).parents[3]

TEXT = """
# Title
```
not one of the steps
```
## 1. First
Words, and `code`.
```
one --flag      # a remark
systemctl start one

two '#3'
```
## An end
```
nothing of ours
```
## 2. Second
"""


def test_the_commands_of_the_numbered_sections_are_read_without_their_remarks() -> None:
    assert manual.read(TEXT) == {
        1: manual.Section(1, "First", ("one --flag", "systemctl start one", "two '#3'")),
        2: manual.Section(2, "Second", ()),
    }


def test_what_needs_a_booted_system_is_told_apart() -> None:
    section = manual.read(TEXT)[1]
    assert section.before_boot == ["one --flag", "two '#3'"]
    assert section.once_booted == ["systemctl start one"]


def test_the_readme_has_all_steps_that_the_fleet_test_carries_out() -> None:
    sections = manual.read((CHECKOUT / "systemd" / "README.md").read_text())
    assert list(sections) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert all(section.commands for section in sections.values())
    scripts = {line.split()[0] for section in sections.values() for line in section.commands if "provision/" in line}
    assert [script for script in scripts if not os.access(CHECKOUT / script, os.X_OK)] == []
    text = "".join(path.read_text() for path in CHECKOUT.glob("packer/provision/*.sh"))
    units = [path.name for path in CHECKOUT.glob("systemd/*") if path.suffix != ".md"]
    assert [name for name in units if f"systemd/{name}" not in text] == []
