#!/bin/sh
# 40-units.sh ROLE…   the units of these roles, with the slice and the target that both are in. Starts nothing.
set -eu
cd "$(dirname "$0")/../.."

install -m 0644 systemd/poolmgr.slice systemd/poolmgr.target /etc/systemd/system/
for role in "$@"; do
  case $role in
    manager) install -m 0644 systemd/poolmgr.service /etc/systemd/system/ ;;
    worker) install -m 0644 systemd/poolmgr-worker.service /etc/systemd/system/ ;;
    mirror) install -m 0644 systemd/poolmgr-mirror.service /etc/systemd/system/ ;;
    *) echo "40-units.sh: no role $role (manager, worker or mirror)" >&2; exit 2 ;;
  esac
done
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
