#!/bin/sh
# 90-clean.sh   nothing is left that a VM must have for itself, or that nobody needs: host keys, machine-id, seeds, logs,
# caches, leases, histories, keys of whoever built it. Only for an image: POOLMGR_IMAGE=1.
set -eu
[ "${POOLMGR_IMAGE:-}" = 1 ] || { echo "90-clean.sh: this is for images that are being built (POOLMGR_IMAGE=1)" >&2; exit 2; }

apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /root/.cache /var/tmp/* /tmp/poolmgr*
if command -v cloud-init >/dev/null; then cloud-init clean --logs; fi
rm -f /etc/ssh/ssh_host_* /var/lib/systemd/random-seed /var/lib/dhcp/* /root/.bash_history /root/.ssh/authorized_keys
find /var/log -type f -exec truncate --size=0 {} +
rm -rf /var/log/journal/* /run/log/journal/*
: >/etc/machine-id # empty: systemd makes one at the first boot
rm -f /var/lib/dbus/machine-id
sync
