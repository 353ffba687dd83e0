#!/bin/sh
# From a bare Debian 12 or 13 to a running Pod: installs minipod into /opt/minipod, builds the images
# of the seed Pod from Debian packages, starts the daemon, applies examples/13-pod/two-containers.yaml
# and shows it running with its log. Repeatable; `minipod down --pods` takes everything down again.
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
prefix=${MINIPOD_PREFIX:-/opt/minipod}
say() { printf '==> %s\n' "$*"; }

sh "$here/scripts/setup.sh" "$prefix"
minipod=$prefix/bin/minipod
if [ "$prefix" = /opt/minipod ]; then
    ln -sf "$prefix/bin/minipod" /usr/local/bin/minipod
fi

for image in debian nginx; do
    say "building the image $image from Debian packages"
    "$minipod" image build "$here/images/$image"
done

say "starting the daemon"
"$minipod" up

say "applying examples/13-pod/two-containers.yaml"
"$minipod" apply -f "$here/examples/13-pod/two-containers.yaml" --until-ready --timeout=60s

say "the Pod, as Kubernetes would show it: 1/2, for debian-container has done its work and is not started again"
"$minipod" get pods -o wide
say "its phase"
"$minipod" get pod two-containers -o 'jsonpath={.status.phase}{"\n"}'
say "what its first container serves (written by its second one)"
"$minipod" exec two-containers -c nginx-container -- cat /usr/share/nginx/html/index.html
say "its events and log"
"$minipod" events --for pod/two-containers
"$minipod" logs two-containers -c nginx-container
say "done. Try: minipod plan -f $here/examples/13-pod/two-containers.yaml, minipod trace pod/two-containers, minipod --help"
