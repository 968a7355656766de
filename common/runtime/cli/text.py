"""Text for terminals: escapes values from outside, and writes counts and durations."""


def literal(text: str) -> str:
    """`text` with every invisible character written as an escape: control characters, ESC, bidi overrides."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def count(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun: `1 bot`, `2 bots`."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def duration(seconds: float) -> str:
    """A duration in about seven characters: `12 ms`, `2.13 s`, `4m 05s`, `3h 20m`, `5d 02h`."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if hours < 1:
        return f"{minutes}m {whole % 60:02}s"
    if days < 2:
        return f"{hours}h {minutes % 60:02}m"
    return f"{days}d {hours % 24:02}h"
