"""Checks whether text from outside can be written as UTF-8."""

from typing import Final

NOT_TEXT: Final = "holds half a surrogate pair or a byte that is not UTF-8, which is no character"


def is_text(text: str) -> bool:
    """Whether the text has no half of a surrogate pair. Such halves come from JSON (`\\ud800`), and from bytes that are
    not UTF-8 in a command line or a header. They can be written neither to Redis nor into JSON.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
