"""Reads the numbered sections of systemd/README.md, and the commands in their fenced blocks. So the test tries exactly
the written commands. Runs nothing.
"""

import re
from typing import Final, NamedTuple

_HEADING: Final = re.compile(r"## (\d+)\. (.+)")
_FENCE: Final = "```"
_NEEDS_A_BOOTED_SYSTEM: Final = ("systemctl ", "journalctl ")


class Section(NamedTuple):
    number: int
    title: str
    commands: tuple[str, ...]

    @property
    def before_boot(self) -> list[str]:
        return [command for command in self.commands if not command.startswith(_NEEDS_A_BOOTED_SYSTEM)]

    @property
    def once_booted(self) -> list[str]:
        return [command for command in self.commands if command.startswith(_NEEDS_A_BOOTED_SYSTEM)]


def read(text: str) -> dict[int, Section]:
    """The numbered sections by number; a command is a line of a fenced block, without its comment."""
    sections: dict[int, Section] = {}
    number, fenced = 0, False
    for line in text.splitlines():
        if line.startswith(_FENCE):
            fenced = not fenced
        elif fenced and number:
            command = re.sub(r"\s+#.*", "", line).strip()
            if command:
                found = sections[number]
                sections[number] = found._replace(commands=(*found.commands, command))
        elif not fenced and line.startswith("## "):
            heading = _HEADING.fullmatch(line)
            number = int(heading[1]) if heading else 0
            if heading:
                sections[number] = Section(number, heading[2], ())
    return sections
