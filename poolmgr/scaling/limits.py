"""The fewest and the most VMs, by the hour of the week."""

from typing import Final, NamedTuple

from common.config.settings import ScalingSettings

MINUTES_A_DAY: Final = 24 * 60
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Limits(NamedTuple):
    floor: int
    ceiling: int

    def hold(self, vms: int) -> int:
        """`vms`, or the nearest limit."""
        return max(self.floor, min(self.ceiling, vms))


def limits_at(minute: int, settings: ScalingSettings) -> Limits:
    """The limits at this minute of the week (0: Monday, 00:00, in the time zone of the settings). The first of
    scaling.hours that has it says so, or else min_vms and max_vms. Hours that end before they begin last until the next
    day.
    """
    day, of_day = divmod(minute, MINUTES_A_DAY)
    for hours in settings.hours:
        begin, end = _minutes(hours.begin), _minutes(hours.end)
        if begin < end:
            is_in = _DAYS[day] in hours.days and begin <= of_day < end
        else:
            began = day if of_day >= begin else day - 1
            is_in = _DAYS[began] in hours.days and (of_day >= begin or of_day < end)
        if is_in:
            return Limits(hours.min_vms, hours.max_vms)
    return Limits(settings.min_vms, settings.max_vms)


def _minutes(time: str) -> int:
    hour, minute = time.split(":")
    return int(hour) * 60 + int(minute)
