"""Every error of the two programs hangs on its program's root, and the tree in common/errors.py names all of them."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import common
import poolmgr
import worker
from common import errors
from common.errors import AgentError, ManagerError, PoolmgrError

ROOTS = {"common": PoolmgrError, "poolmgr": ManagerError, "worker": AgentError}


def own_errors() -> Iterator[type[Exception]]:
    for package in (common, poolmgr, worker):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(".__main__"):
                found = vars(importlib.import_module(module.name)).values()
                yield from (
                    each
                    for each in found
                    if isinstance(each, type)
                    and issubclass(each, Exception)
                    and each.__module__ == module.name
                    and not each.__name__.startswith("_")
                )


def test_every_error_hangs_on_the_root_of_its_program() -> None:
    for error in own_errors():
        assert issubclass(error, ROOTS[error.__module__.partition(".")[0]]), error


def test_the_tree_names_every_error_once() -> None:
    tree = (errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"\w+Error\b", tree)) == sorted(error.__name__ for error in own_errors())
