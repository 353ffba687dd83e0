# What the chapters' checks are written with: `. expect.sh`.

# fail WHY...: ends the check
fail() { echo "check: $*" >&2; exit 1; }

# until_says SECONDS WANTED COMMAND...: runs COMMAND until its output holds WANTED
until_says() {
    tries=$(($1 * 5)) wanted=$2
    shift 2
    until "$@" 2>&1 | grep -q -- "$wanted"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "\"$*\" never said \"$wanted\", but: $("$@" 2>&1 | tail -n 5)"
        sleep 0.2
    done
}
