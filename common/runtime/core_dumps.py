"""Keeps the memory of this process, and of those that it starts, off the disk: sound, words and secrets are in it."""

import resource


def forbid() -> None:
    """No file is made of a dump from now on, and that cannot be undone. A program to which the kernel pipes dumps still
    gets them (core(5)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
