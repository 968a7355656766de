"""How the benchmark's own programs are called."""

import sys
from pathlib import Path
from typing import Final

from lab.parts.stage import ROOT

PEERS_PYTHON: Final = ROOT / ".venv-peers" / "bin" / "python"


def module(name: str, *arguments: object, python: str | Path = sys.executable) -> tuple[str, ...]:
    """The command that runs a module of this package."""
    return (str(python), "-m", f"lab.bench.{name}", *map(str, arguments))
