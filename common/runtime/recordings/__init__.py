"""The store of recordings, what finds a recording in it, and its sound in another form."""
