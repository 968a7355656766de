"""What is shipped, as somebody gets it: package (`./dev deb --try`), image (`./dev image`), the release before."""
