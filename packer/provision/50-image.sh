#!/bin/sh
# 50-image.sh ROLE…   what an image has beyond a machine that somebody set up: the units start at boot, and each VM takes
# its name from its cloud (poolmgr-first-boot.service).
#
# WARM_PAGES: a TOML array of pages that browsers have been to before a bot comes; empty: none. They are visited by the
# agent of each VM, not here.
set -eu
cd "$(dirname "$0")/../.."

install -D -m 0755 packer/first_boot.py /opt/poolmgr/first-boot
install -m 0644 systemd/poolmgr-first-boot.service /etc/systemd/system/
systemctl enable poolmgr-first-boot.service
for role in "$@"; do
  case $role in
    manager) systemctl enable poolmgr.service ;;
    worker)
      systemctl enable poolmgr-worker.service
      if [ -n "${WARM_PAGES:-}" ]; then
        sed -i "s|^warm_pages = .*|warm_pages = $WARM_PAGES|" /etc/poolmgr/config.toml
      fi
      fc-cache --force
      ;;
    *) echo "50-image.sh: no role $role (manager or worker)" >&2; exit 2 ;;
  esac
done
# An image has no host keys (90-clean.sh); where no cloud-init makes them, the first boot does.
if [ -e /lib/systemd/system/ssh.service ] && ! command -v cloud-init >/dev/null; then
  mkdir -p /etc/systemd/system/ssh.service.d
  printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n' \
    >/etc/systemd/system/ssh.service.d/host-keys.conf
fi
/opt/poolmgr/venv/bin/poolmgr config check /etc/poolmgr/config.toml
