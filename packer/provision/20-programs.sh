#!/bin/sh
# 20-programs.sh   both programs in /opt/poolmgr, of the wheel in dist/ and the packages of requirements/run.txt; also an
# upgrade of them. What runs goes on with the old files until it is restarted.
set -eu
cd "$(dirname "$0")/../.."

wheel=$(find dist -name 'poolmgr-*.whl' 2>/dev/null | sort -V | tail -n 1)
[ -n "$wheel" ] || { echo "20-programs.sh: no wheel in dist/ (systemd/README.md, step 1)" >&2; exit 2; }
[ -x /opt/poolmgr/venv/bin/pip ] || python3 -m venv /opt/poolmgr/venv
/opt/poolmgr/venv/bin/pip install --quiet --require-hashes -r requirements/run.txt
/opt/poolmgr/venv/bin/pip install --quiet --no-deps --force-reinstall "$wheel"
rm -rf /opt/poolmgr/docs
cp -r docs /opt/poolmgr/
/opt/poolmgr/venv/bin/poolmgr version
