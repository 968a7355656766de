#!/bin/sh
# 80-check.sh ROLE…   what was made here works: the configuration, and on a VM with browsers all that can be known without
# the network: the browser starts, its sandbox is on, fonts are there.
set -eu

for role in "$@"; do
  case $role in
    manager) runuser -u poolmgr -- /opt/poolmgr/venv/bin/poolmgr doctor --offline --config /etc/poolmgr/config.toml ;;
    worker)
      runuser -u poolmgr-worker -- /opt/poolmgr/venv/bin/poolmgr-worker doctor --offline --config /etc/poolmgr/config.toml
      ;;
    *) echo "80-check.sh: no role $role (manager or worker)" >&2; exit 2 ;;
  esac
done
