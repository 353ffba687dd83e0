#!/bin/sh
# Runs the probes and restarts of this chapter; test-liveness-exec in a copy that is in a hurry.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
. "$here/../expect.sh"
ours="-f $here/liveness-http.yaml -f $here/liveness-tcp.yaml -f $here/one-plus-one.yaml -f $here/two-containers.yaml
    -f $here/test-liveness-exec.yaml"
# shellcheck disable=SC2086  # a list
clean() { minipod delete --ignore-not-found --now $ours >/dev/null; }
trap clean EXIT
status() { minipod get pod "$1" -o "jsonpath={.status.$2}"; }

minipod apply -f "$here/liveness-http.yaml" -f "$here/liveness-tcp.yaml" -f "$here/one-plus-one.yaml" \
    -f "$here/two-containers.yaml"
sed -e 's/sleep 30/sleep 2/' -e 's/Seconds: 5/Seconds: 1/' \
    -e 's/^spec:/spec:\n  terminationGracePeriodSeconds: 1/' "$here/test-liveness-exec.yaml" | minipod create -f -

until_says 30 "[1-9]" status test-liveness-exec 'containerStatuses[0].restartCount'
events=$(minipod events --for pod/test-liveness-exec)
echo "$events" | grep -q "Liveness probe failed: cat: can't open '/tmp/healthy': No such file or directory" ||
    fail "no Unhealthy event: $events"
echo "$events" | grep -q "Container liveness failed liveness probe, will be restarted" || fail "no Killing event: $events"
[ "$(status test-liveness-exec phase)" = Running ] || fail "the Pod did not stay Running"
now=$(status test-liveness-exec 'containerStatuses[0].containerID')
[ "$now" != "$(status test-liveness-exec 'containerStatuses[0].lastState.terminated.containerID')" ] ||
    fail "it is the same container"

until_says 30 Succeeded status one-plus-one phase
[ "$(minipod logs one-plus-one)" = 2 ] || fail "1 + 1 is not 2"

until_says 30 terminated status two-of-which-one 'containerStatuses[1].state'
minipod get pod two-of-which-one --no-headers | grep -q "1/2" || fail "READY does not count what runs"
[ "$(status two-of-which-one phase)" = Running ] || fail "the Pod has ended with one of its containers"

until_says 30 Running status liveness-tcp phase
until_says 10 "Readiness probe failed: HTTP probe failed with statuscode: 404" minipod events --for pod/liveness-tcp
minipod get pod liveness-tcp --no-headers | grep -q "0/1" || fail "liveness-tcp is ready though nobody said so"
minipod exec liveness-tcp -- touch /www/ready
until_says 10 "1/1" minipod get pod liveness-tcp --no-headers
[ "$(status liveness-tcp 'containerStatuses[0].restartCount')" = 0 ] || fail "a readiness probe has restarted something"

until_says 20 "200\|healthz\|response:" minipod logs liveness-http
[ "$(status liveness-http 'containerStatuses[0].restartCount')" = 0 ] || fail "liveness-http was restarted"
sh "$here/configuration.sh"
echo "15-pod-advanced: ok"
