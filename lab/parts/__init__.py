"""What demo, benchmark, fault suite and tests are built of, each thing once: processes and where they stand."""


class StageError(Exception):
    """A part did not start, ended, or did not do its work in time; the message names it and shows its log's end."""
