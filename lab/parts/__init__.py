"""The parts of demo, benchmark, fault suite and tests, each written once: processes and the stage that starts them."""


class StageError(Exception):
    """A part did not start, ended, or did not do its work in time; the message names it and shows its log's end."""
