"""Watches the stage without asking manager or agent: the meeting, the process table, the logs, the processor."""
