#!/bin/sh
# Sets up a machine of its own for minipod (Vagrant runs this; tests/vm/run.sh does in QEMU): installs
# it, builds the images of the labs, and runs shim and daemon as systemd services. Repeatable.
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
say() { printf '==> %s\n' "$*"; }

sh "$here/scripts/setup.sh" /opt/minipod
ln -sf /opt/minipod/bin/minipod /usr/local/bin/minipod
for recipe in "$here"/images/*/; do
    say "building the image $(basename "$recipe")"
    minipod image build "$recipe"
done
say "installing and starting the systemd units"
minipod install-units
systemctl daemon-reload
systemctl enable --now minipod-shim.service minipod.service
minipod status
