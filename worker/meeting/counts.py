"""What all sessions of this agent count together, for its metrics. Numbers only, which nothing is decided by."""


class Counts:
    """`page_timeouts`: calls to a meeting's page that it did not answer in worker.page_timeout_s."""

    page_timeouts = 0


counts = Counts()
