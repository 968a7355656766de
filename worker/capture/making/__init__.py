"""The files that are made of a recording once its meeting is over, in a process of its own."""
