#!/bin/sh
# Runs the Pods of this chapter and compares the container's view with the host's.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
. "$here/../expect.sh"
clean() { minipod delete --ignore-not-found --now -f "$here" >/dev/null; }
trap clean EXIT

minipod apply -f "$here" --until-ready --timeout=60s

[ "$(minipod exec anonymous-volume -- cat /test/file)" = written-in-the-container ] ||
    fail "the emptyDir does not hold what the container wrote"
minipod exec anonymous-volume -- cat /proc/self/mountinfo | grep -q ' /test ' ||
    fail "/test is not a mount of its own in the container"

ls /home >/tmp/minipod-check.$$
minipod exec host-directory -- ls /test | diff - /tmp/minipod-check.$$ || fail "/test is not the host's /home"
rm -f /tmp/minipod-check.$$
if minipod exec host-directory -- touch /test/x 2>/dev/null; then
    fail "a readOnly mount could be written"
fi
# The first pivot_root of the plan belongs to the pause, the last one to the container.
minipod plan -f "$here/host-directory.yaml" | awk '
    /^mount .*bind \/home / { bound = NR }
    /^[^#]*pivot_root/ { pivoted = NR }
    END { exit !(bound && pivoted && bound < pivoted) }' || fail "the plan binds the volume after the root is changed"
echo "08-volumes: ok"
