"""Packages that are installed and not wanted."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without(package: str) -> Generator[None]:
    """Imports in this context fail for that package, unless it is imported already."""
    modules: dict[str, Any] = sys.modules
    hidden = package not in modules
    if hidden:
        modules[package] = None
    try:
        yield
    finally:
        if hidden:
            del modules[package]
