#!/bin/sh
# 30-users.sh   the users of both programs, their folders, and a configuration to begin with. What is configured stays.
set -eu
cd "$(dirname "$0")/../.."

install -D -m 0644 systemd/sysusers.conf /etc/sysusers.d/poolmgr.conf
systemd-sysusers /etc/sysusers.d/poolmgr.conf
install -D -m 0644 systemd/tmpfiles.conf /etc/tmpfiles.d/poolmgr.conf
systemd-tmpfiles --create /etc/tmpfiles.d/poolmgr.conf
[ -e /etc/poolmgr/config.toml ] || install -m 0644 config.example.toml /etc/poolmgr/config.toml
/opt/poolmgr/venv/bin/poolmgr config check /etc/poolmgr/config.toml
