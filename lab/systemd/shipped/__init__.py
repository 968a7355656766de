"""What is shipped, tried as somebody gets it: the Debian package (`./dev deb --try`) and the image (`./dev image`)."""
