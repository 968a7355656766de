"""The sound of a recording in another form, made in a process of its own."""
