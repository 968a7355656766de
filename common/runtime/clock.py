"""The two clocks. The rest of the program gets the time as a number."""

import time


class Clock:
    """`steady` counts epoch seconds from the start of the process and never jumps; `wall` is the calendar's time."""

    def __init__(self) -> None:
        self._anchor = time.time() - time.monotonic()

    def steady(self) -> float:
        return self._anchor + time.monotonic()

    def wall(self) -> float:
        return time.time()
