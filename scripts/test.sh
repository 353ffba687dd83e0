#!/bin/sh
# Every check there is, on a bare Debian 12 or 13: formatter, linter, types, import contracts, unit,
# kernel and end-to-end tests. Needs root; leaves nothing behind on the host.
#
#   test.sh [PYTEST OPTIONS...]     with options only pytest runs, with them
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
cd "$here"
sh scripts/setup.sh --test .venv
bin=$here/.venv/bin
say() { printf '==> %s\n' "$*"; }

# What is tested is what is installed: modules compiled once, not anew for every command.
unset PYTHONDONTWRITEBYTECODE
export MINIPOD_LEAK_CHECK="${MINIPOD_LEAK_CHECK-1}" # set it empty where other minipods start and stop meanwhile
if [ $# -gt 0 ]; then
    exec "$bin/pytest" "$@"
fi

say "format";            "$bin/ruff" format --check --quiet .
say "lint";              "$bin/ruff" check --quiet .
say "import contracts";  "$bin/lint-imports" --no-cache >.venv/import-contracts.txt || {
    cat .venv/import-contracts.txt
    exit 1
}
say "types, and meanwhile the unit tests side by side"
"$bin/mypy" &
types=$!
"$bin/pytest" -q -n "$(nproc)" tests/unit
wait $types
say "tests: kernel, e2e, in two runs side by side: each test leaves the host as it was"
"$bin/python" -m tests.e2e.client_environments & # for tests that come later, which say what it could not do
clients=$!
lanes=$(mktemp -d)
other=
finish() {
    kill $clients $other 2>/dev/null || :
    wait
    rm -rf "$lanes"
}
trap finish EXIT
trap 'exit 130' INT TERM
MINIPOD_TEST_RUN="$lanes/last" "$bin/pytest" -q --durations=15 tests/kernel tests/e2e >"$lanes/last.txt" 2>&1 &
other=$!
failed=
MINIPOD_TEST_RUN="$lanes/first" "$bin/pytest" -q --durations=15 tests/kernel tests/e2e || failed=yes
wait $other || failed=yes
say "what the second run says"
cat "$lanes/last.txt"
[ -z "$failed" ]
