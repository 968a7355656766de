"""Values from outside made harmless, and numbers with their nouns."""


def literal(text: str) -> str:
    """`text` with everything that is no visible character written as an escape: controls, ESC, bidi overrides."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def count(number: int, one: str, many: str = "") -> str:
    """`1 bot`, `2 bots`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
