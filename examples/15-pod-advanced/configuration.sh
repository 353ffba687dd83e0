#!/bin/sh
# Runs the half of the chapter that is about configuration and identity; check.sh calls it.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
cd "$here"
. "$here/../expect.sh"
created="secret/user secret/pass secret/web-tls secret/registry configmap/ui-config"
manifests="-f test-projected-volume.yaml -f mysecret.yaml -f configured.yaml -f test-downwardapi-volume.yaml
    -f downwardapi-fields.yaml -f account.yaml -f preset.yaml -f pod.yaml"
keys=$(mktemp -d)
clean() {
    # shellcheck disable=SC2086  # lists
    minipod delete --ignore-not-found --now $manifests >/dev/null
    # shellcheck disable=SC2086
    minipod delete --ignore-not-found $created >/dev/null
    minipod delete --ignore-not-found podpreset/other-port pod/website-2 --now >/dev/null
    rm -rf "$keys"
}
trap clean EXIT
inside() { pod=$1; shift; minipod exec "$pod" -- "$@"; }
is() { [ "$1" = "$2" ] || fail "\"$1\" is not \"$2\""; }

# 15.1 Secret
minipod create secret generic user --from-file=./username.txt
minipod create secret generic pass --from-file=./password.txt
minipod apply -f mysecret.yaml
is "$(echo YWRtaW4= | base64 -d)" admin
minipod apply -f test-projected-volume.yaml --until-ready
is "$(inside test-projected-volume cat /projected-volume/username.txt)" admin
is "$(inside test-projected-volume cat /projected-volume/password.txt)" 'c1oudc0w!'
is "$(minipod get secret mysecret -o 'jsonpath={.data.pass}' | base64 -d)" 1f2d1e2e67df
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=web \
    -keyout "$keys/tls.key" -out "$keys/tls.crt" 2>/dev/null
minipod create secret tls web-tls --cert="$keys/tls.crt" --key="$keys/tls.key"
minipod create secret docker-registry registry --docker-server=registry.example.com \
    --docker-username=jane --docker-password=secret
minipod get secret web-tls | grep -q kubernetes.io/tls || fail "web-tls is no TLS Secret"
minipod get secret registry | grep -q kubernetes.io/dockerconfigjson || fail "registry holds no login"

# 15.2 ConfigMap
minipod create configmap ui-config --from-file=example/ui.properties
minipod get configmaps ui-config -o yaml | grep -q 'color.good=purple' || fail "ui-config has lost a line"
minipod apply -f configured.yaml --until-ready
is "$(inside configured sh -c 'echo $DB_USER $DSN $SECRET_pass')" "admin admin@db 1f2d1e2e67df"
is "$(inside configured stat -L -c %a /etc/credentials/db/password)" 400
inside configured grep -q how.nice.to.look=fairlyNice /etc/ui/ui.properties || fail "ui.properties is not mounted"
minipod patch secret mysecret --type=merge -p '{"stringData": {"pass": "changed"}}'
until_says 5 changed minipod exec configured -- cat /etc/credentials/db/password
is "$(inside configured sh -c 'echo $SECRET_pass')" 1f2d1e2e67df

# 15.3 Downward API
minipod apply -f test-downwardapi-volume.yaml -f downwardapi-fields.yaml --until-ready
until_says 10 'cluster="test-cluster1"' minipod logs test-downwardapi-volume
minipod label pod test-downwardapi-volume rack=rack-23 --overwrite
until_says 5 'rack="rack-23"' minipod exec test-downwardapi-volume -- cat /etc/podinfo/labels
values=$(inside downwardapi-fields env)
for each in NODE_NAME= HOST_IP= POD_NAME=downwardapi-fields POD_NAMESPACE=default POD_IP= ACCOUNT=default POD_UID= \
    ZONE=us-est-coast BUILD=two CPU_LIMIT=500 CPU_REQUEST=100 MEMORY_LIMIT=33554432 MEMORY_REQUEST=16; do
    echo "$values" | grep -q "^$each" || fail "the environment lacks $each: $values"
done
is "$(inside downwardapi-fields cat /etc/podinfo/memory)" 32

# 15.4 ServiceAccountToken
minipod apply -f account.yaml --until-ready
place=/var/run/secrets/kubernetes.io/serviceaccount
is "$(inside test-projected-volume ls $place | tr '\n' ' ')" "ca.crt namespace token "
minipod describe pod with-account | grep -q "$place from kube-api-access-" || fail "no token is mounted"
is "$(inside with-account cat $place/namespace)" default
inside without-token ls $place 2>/dev/null && fail "a token is there that nobody wanted"
is "$(minipod auth can-i list pods --as system:serviceaccount:default:reader)" yes
is "$(minipod auth can-i delete pods --as system:serviceaccount:default:reader || true)" no

# 15.6 PodPreset
minipod create -f preset.yaml
minipod create -f pod.yaml
minipod wait pod/website --for=condition=Ready --timeout=60s >/dev/null
minipod get pod website -o yaml | grep -q 'podpreset.admission.kubernetes.io/podpreset-allow-database:' ||
    fail "no annotation names the preset"
is "$(minipod get pod website -o 'jsonpath={.spec.containers[0].env[0].name}')" DB_PORT
is "$(inside website sh -c 'echo $DB_PORT')" 6379
inside website test -d /cache || fail "the preset's volume is not mounted"
sed -e 's/allow-database/other-port/' -e 's/6379/1/' -e '/volume/,$d' preset.yaml | minipod create -f -
sed -e 's/name: website/name: website-2/' pod.yaml | minipod create -f -
until_says 10 PodPresetConflict minipod events --for pod/website-2
is "$(minipod get pod website-2 -o 'jsonpath={.spec.containers[0].env}')" ""
echo "15-pod-advanced, configuration: ok"
