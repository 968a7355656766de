"""Copies the project's reader of meeting links beside the serverless trigger, which has to be whole in its own folder.

`python deploy/vendor.py` writes the copies anew. A test says when they are out of date. Change the originals, never the
copies.
"""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
COPIES: Final = ROOT / "deploy" / "serverless" / "common"
MODULES: Final = ("errors.py", "links/links.py", "links/shapes.py", "links/text.py", "links/wrappers.py")
_INIT: Final = b'''"""Copies of the reader of meeting links, made by deploy/vendor.py. Change the originals."""
'''


def copies() -> dict[Path, bytes]:
    """What is to be in which file."""
    found = {COPIES / name: (ROOT / "common" / name).read_bytes() for name in MODULES}
    return {COPIES / "__init__.py": _INIT, COPIES / "links" / "__init__.py": _INIT, **found}


def main() -> None:
    (COPIES / "links").mkdir(parents=True, exist_ok=True)
    for file, content in copies().items():
        file.write_bytes(content)


if __name__ == "__main__":
    main()
