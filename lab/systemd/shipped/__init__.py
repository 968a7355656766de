"""Tries what is shipped, as a user gets it: package (`./dev deb --try`), image (`./dev image`), the release before."""
