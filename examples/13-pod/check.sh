#!/bin/sh
# Runs the Pods of this chapter and looks at each from inside and from the host.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
. "$here/../expect.sh"
clean() { minipod delete --ignore-not-found --now -f "$here" >/dev/null; }
trap clean EXIT

minipod apply -f "$here" --until-ready --timeout=120s

hello="Hello from the debian container"
until_says 10 "$hello" minipod exec two-containers -c nginx-container -- cat /usr/share/nginx/html/index.html
grep -q "$hello" /data/index.html || fail "the host's /data/index.html is not what the container wrote"
address=$(minipod get pod two-containers -o 'jsonpath={.status.podIP}')
until_says 10 "$hello" curl -sS --max-time 5 "http://$address/"

[ "$(minipod get pod javaweb-2 -o 'jsonpath={.status.initContainerStatuses[0].state.terminated.reason}')" = Completed ] ||
    fail "the init container did not complete"
until_says 60 "[Hh]ello" curl -sS --max-time 5 http://127.0.0.1:8001/sample/

until_says 10 "request 1" minipod logs log-collector -c collector
until_says 10 "$hello\|nginx" minipod logs localhost -c client
echo "13-pod: ok"
