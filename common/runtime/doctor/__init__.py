"""Checks of a machine that find what keeps bots from joining: the checks that both programs share."""
