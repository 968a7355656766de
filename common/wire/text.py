"""Whether text from outside can be written as UTF-8 again."""

from typing import Final

NOT_TEXT: Final = "holds half a surrogate pair or a byte that is not UTF-8, which is no character"


def is_text(text: str) -> bool:
    """Whether it is characters only. Half a surrogate pair is none: JSON's `\\ud800`, and each byte that is not UTF-8
    where Python reads a command line or a header. What holds one can go nowhere, neither to Redis nor into JSON.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
