"""Coverage, measured only where it counts: pyproject.toml, tool.coverage.run."""

import pkgutil
import warnings
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from coverage import Coverage

_MEASURED: Final = (
    *("tests/core/", "tests/common/jobs/", "tests/store/", "tests/scaling/"),
    *("tests/common/wire/", "tests/common/links/", "tests/common/config/"),
    "tests/worker/decide/",
    *("tests/up/test_supervisor.py", "tests/up/test_warmth.py"),
    *("tests/worker/capture/test_progress.py", "tests/worker/capture/test_silence.py"),
    *("tests/worker/capture/test_stall.py", "tests/worker/transcript/test_whose_track.py"),
)


class Measuring:
    """Coverage is measured in the tables of the files that are to be covered.

    Measuring doubles what a test costs. Elsewhere, and in properties and state machines, it finds no line that a table
    does not; and a line that only they come by, as if by chance, is not tested.
    """

    def __init__(self) -> None:
        self._paused: Coverage | None = None

    def for_collection(self, config: pytest.Config) -> None:
        """Imports all that is to be covered, which is measured, so that it has not to be while all tests are imported:
        that would take as long again.
        """
        if coverage := _of_pytest_cov(config):
            sources: Any = coverage.get_option("run:source")
            _import_all(sources)
            coverage.stop()  # each process of the tests gathers what was measured
            self._paused = coverage

    def for_test(self, item: pytest.Item) -> None:
        """Switches only where it has to: that takes two milliseconds."""
        # They take a third of a second: the runs that tests/test_at_once.py starts measure nothing.
        from coverage import Coverage
        from coverage.exceptions import CoverageWarning
        from hypothesis import is_hypothesis_test

        draws = is_hypothesis_test(getattr(item, "obj", None)) or item.path.name.endswith("_machine.py")
        if item.nodeid.startswith(_MEASURED) and not draws:
            if self._paused:
                self._paused.start()
                self._paused = None
        elif self._paused is None and (coverage := _of_pytest_cov(item.config)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CoverageWarning)  # of what is not imported yet
                coverage.get_data()  # now: at the end it gathers only what was measured since the last start
            while started := Coverage.current():  # those under it would go on
                started.stop()
            self._paused = coverage


def keep_measured(config: pytest.Config) -> None:
    """What this process measured, in a file of its own, which pytest-cov puts together with the others at the end."""
    if coverage := _of_pytest_cov(config):
        coverage.stop()
        coverage.save()


def _import_all(names: Iterable[str]) -> None:
    for name in names:
        module = import_module(name)
        inside = pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}.")
        _import_all(each.name for each in inside if not each.name.endswith("__main__"))


def _of_pytest_cov(config: pytest.Config) -> "Coverage | None":
    plugin: Any = config.pluginmanager.getplugin("_cov")
    controller = plugin and plugin.cov_controller
    return controller.cov if controller else None
