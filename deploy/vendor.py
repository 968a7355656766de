"""Copies what of the project functions in a cloud need, each of which has to be whole in its own folder: the reader of
meeting links beside the serverless trigger, and the form of a mirrored record beside the receiver of the mirror.

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
MIRROR: Final = ROOT / "deploy" / "mirror" / "common"
_MIRROR_INIT: Final = b'''"""A copy of the form of a mirrored record, made by deploy/vendor.py. Change the original."""
'''


def copies() -> dict[Path, bytes]:
    """What is to be in which file."""
    found = {COPIES / name: (ROOT / "common" / name).read_bytes() for name in MODULES}
    form = Path("wire") / "mirrored.py"
    return {
        COPIES / "__init__.py": _INIT,
        COPIES / "links" / "__init__.py": _INIT,
        **found,
        MIRROR / "__init__.py": _MIRROR_INIT,
        MIRROR / "wire" / "__init__.py": _MIRROR_INIT,
        MIRROR / form: (ROOT / "common" / form).read_bytes(),
    }


def main() -> None:
    for file, content in copies().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


if __name__ == "__main__":
    main()
