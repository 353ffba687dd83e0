#!/bin/sh
# Runs the Pods of this chapter and looks at each from inside and from the host.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
. "$here/../expect.sh"
node=$(minipod get nodes -o 'jsonpath={.items[0].metadata.name}')
clean() {
    minipod delete --ignore-not-found --now -f "$here" >/dev/null
    minipod label node "$node" disktype- >/dev/null
}
trap clean EXIT
phase() { minipod get pod "$1" -o 'jsonpath={.status.phase}'; }
namespace() { minipod exec "$1" -c "$2" -- readlink "/proc/self/ns/$3"; }

minipod label node "$node" disktype- >/dev/null
minipod apply -f "$here"

# nodeSelector: Pending, with the reason, until the label is there
until_says 20 "didn't match Pod's node affinity/selector" minipod describe pod/node-selector
[ "$(phase node-selector)" = Pending ] || fail "node-selector does not wait for its label"
minipod label node "$node" disktype=ssd
until_says 30 Running phase node-selector

until_says 30 Running phase host-aliases
minipod exec host-aliases -- cat /etc/hosts | grep -q "10.1.2.3[[:space:]]*foo.remote[[:space:]]*bar.remote" ||
    fail "/etc/hosts has no such line"

until_says 30 "nginx: master" minipod exec nginx -c shell -- ps -o args
minipod exec nginx -c shell -- ps -o pid,args | grep -q "^ *1 */pause" || fail "PID 1 of the shared namespace is not /pause"
[ "$(namespace nginx nginx pid)" = "$(namespace nginx shell pid)" ] || fail "the containers do not share their PIDs"

until_says 30 Running phase nginx-on-the-host
for kind in net ipc pid; do
    [ "$(namespace nginx-on-the-host shell $kind)" = "$(readlink /proc/$$/ns/$kind)" ] ||
        fail "$kind is not the host's namespace"
done

until_says 30 "Hello from the postStart handler" minipod exec lifecycle-demo -- cat /usr/share/message
minipod delete pod lifecycle-demo
minipod events --for pod/lifecycle-demo | grep -q "FailedPreStopHook" && fail "nginx -s quit failed"
echo "14-pod-object: ok"
