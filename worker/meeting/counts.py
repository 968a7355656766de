"""Numbers that all sessions of this agent count together, for its metrics. Nothing is decided by them."""


class Counts:
    """`page_timeouts`: calls that a meeting page did not answer within worker.page_timeout_s."""

    page_timeouts = 0


counts = Counts()
