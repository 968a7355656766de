"""The dashboards of deploy/grafana, read from the code that makes them."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Final

from lab.parts.stage import ROOT

FOLDER: Final[Path] = ROOT / "deploy" / "grafana"


@cache
def load() -> Any:
    """The module deploy/grafana/dashboards.py, whose folder is no package."""
    spec = importlib.util.spec_from_file_location("dashboards", FOLDER / "dashboards.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
