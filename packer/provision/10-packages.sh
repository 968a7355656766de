#!/bin/sh
# 10-packages.sh ROLE…   what the system has to bring. ROLE: manager, worker, or both.
#
# CHROMIUM_VERSION pins the browser (as apt-cache policy chromium shows it); empty: the newest of this Debian.
set -eu
export DEBIAN_FRONTEND=noninteractive

apt-get update
apt-get install --yes --no-install-recommends python3-venv ca-certificates
for role in "$@"; do
  case $role in
    manager) ;;
    worker)
      apt-get install --yes --no-install-recommends "chromium${CHROMIUM_VERSION:+=$CHROMIUM_VERSION}" xvfb libatomic1
      # For capture.video = "display" ffmpeg and pulseaudio as well: they bring some 100 MB, so they are left out here.
      apt-get install --yes --no-install-recommends fonts-liberation fonts-noto-core fonts-noto-cjk fonts-noto-color-emoji fontconfig
      if [ -n "${CHROMIUM_VERSION:-}" ]; then apt-mark hold chromium chromium-common; fi
      ;;
    *) echo "10-packages.sh: no role $role (manager or worker)" >&2; exit 2 ;;
  esac
done
