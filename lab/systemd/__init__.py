"""The systemd units tried on a booted systemd. `./dev fleet-test`."""
