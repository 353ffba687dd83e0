#!/bin/sh
# Installs what minipod needs on Debian 12 or 13: a few packages by apt, and a Python virtual
# environment. Repeatable: what is there already is left alone.
#
#   setup.sh PREFIX          install minipod into the environment PREFIX
#   setup.sh --test PREFIX   the same from this checkout in place, with everything the tests use
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
test_setup=
if [ "${1:-}" = "--test" ]; then
    test_setup=yes
    shift
fi
prefix=${1:?usage: setup.sh [--test] PREFIX}

say() { printf '==> %s\n' "$*"; }

# python3-venv: the environment; libnftables1 and libseccomp2: loaded in-process;
# ca-certificates: pip; the rest of the first line: what building images takes.
packages="python3 python3-venv ca-certificates libnftables1 libseccomp2 dpkg apt"
# The tests look at the kernel with ordinary tools, and hold images against a second client.
test_packages="busybox-static docker-registry systemd git iproute2 nftables procps skopeo util-linux mount curl gcc libc6-dev binutils-aarch64-linux-gnu"

[ "$(id -u)" = 0 ] || { echo "setup.sh: must run as root; try: sudo sh $0 $prefix" >&2; exit 1; }
command -v apt-get >/dev/null || { echo "setup.sh: apt-get not found: Debian 12 or 13 is needed" >&2; exit 1; }

# Debian 12 has Vagrant, which can say whether the Vagrantfile is sound; elsewhere Ruby can at least read it.
# Debian 13 has a kubectl that is recent enough to be tested with. Node.js may be somebody else's package, with npm in it.
if [ -n "$test_setup" ]; then
    command -v npm >/dev/null || test_packages="$test_packages nodejs npm"
    case $(. /etc/os-release && echo "$VERSION_ID") in
        12) test_packages="$test_packages vagrant qemu-user-static" ;;
        *) test_packages="$test_packages ruby kubectl qemu-user" ;;
    esac
fi

missing=
# shellcheck disable=SC2086 # word splitting is what makes the list
for package in $packages ${test_setup:+$test_packages}; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
    say "installing by apt:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q >/dev/null
    # shellcheck disable=SC2086
    apt-get install -q -y --no-install-recommends $missing >/dev/null
else
    say "all Debian packages are there"
fi

if [ ! -x "$prefix/bin/pip" ]; then
    say "making the Python environment $prefix"
    /usr/bin/python3 -m venv "$prefix"
fi

# The stamp names what was installed: the same sources again install nothing.
stamp="$prefix/.minipod-installed"
sources=$(cd "$here" && find minipod pyproject.toml setup.py -type f \
    ! -path '*/__pycache__/*' ! -path 'minipod/api/schema/*' -print0 | sort -z | xargs -0 sha256sum)
if [ -n "$test_setup" ]; then
    wanted=$(cd "$here" && sha256sum pyproject.toml setup.py minipod/api/schema_build.py)
    target="-e $here[test]"
else
    wanted=$sources
    target=$here
fi
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    say "installing minipod and its Python packages into $prefix"
    # shellcheck disable=SC2086
    "$prefix/bin/pip" install --quiet --disable-pip-version-check $target # of a directory, the same version again, too
    printf '%s' "$wanted" >"$stamp"
else
    say "minipod is installed in $prefix"
fi
if [ -n "$test_setup" ]; then
    "$prefix/bin/python" "$here/scripts/kubectl.py" "$prefix/bin"
fi
