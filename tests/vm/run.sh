#!/bin/sh
# Runs a command in a virtual machine of its own: Debian with systemd and pure cgroup v2, booted by
# QEMU from an image that debootstrap makes. Needs root, debootstrap, qemu-system-x86 and e2fsprogs.
#
#   run.sh [--suite bookworm|trixie] [COMMAND...]     default: sh scripts/provision.sh && sh scripts/test.sh
#
# The command runs in a copy of this checkout (/vagrant, as Vagrant has it); its output is shown and its exit
# status is this script's. The machine's disk is kept in $MINIPOD_VM_CACHE (default /var/cache/minipod-vm) with
# what scripts/setup.sh installs already in it, so that a run installs nothing; a run changes only a snapshot.
# MINIPOD_VM_ACCEL=tcg emulates the processor, for hosts whose /dev/kvm does not work (nested machines).
# Certificates in /usr/local/share/ca-certificates are carried along, for hosts behind an inspecting proxy.
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
suite=bookworm
if [ "${1:-}" = --suite ]; then
    suite=$2
    shift 2
fi
command=${*:-sh scripts/provision.sh && sh scripts/test.sh}
cache=${MINIPOD_VM_CACHE:-/var/cache/minipod-vm}/$suite
say() { printf '==> %s\n' "$*" >&2; }

for tool in debootstrap qemu-system-x86_64 mkfs.ext4; do
    command -v $tool >/dev/null || { echo "run.sh: $tool not found: apt install debootstrap qemu-system-x86 e2fsprogs" >&2; exit 1; }
done

base=$cache/base
if [ ! -f "$cache/complete" ]; then
    say "making a Debian $suite with systemd and a kernel in $base (once)"
    rm -rf "$base"
    mkdir -p "$cache"
    debootstrap --variant=minbase \
        --include=systemd,systemd-sysv,udev,dbus,linux-image-cloud-amd64,ca-certificates,iproute2,kmod,systemd-resolved \
        "$suite" "$base" >"$cache/debootstrap.log" 2>&1 || { tail "$cache/debootstrap.log" >&2; exit 1; }
    if [ -d /usr/local/share/ca-certificates ]; then
        cp -r /usr/local/share/ca-certificates/. "$base/usr/local/share/ca-certificates/"
        chroot "$base" update-ca-certificates >/dev/null 2>&1
    fi
    printf '/dev/vda / ext4 defaults 0 1\n' >"$base/etc/fstab"
    printf 'minipod-vm\n' >"$base/etc/hostname"
    printf '127.0.0.1 localhost minipod-vm\n' >"$base/etc/hosts"
    printf '[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n' >"$base/etc/systemd/network/lan.network"
    chroot "$base" systemctl enable systemd-networkd systemd-resolved >/dev/null 2>&1
    chroot "$base" systemctl mask getty@tty1 serial-getty@ttyS0 apt-daily.timer apt-daily-upgrade.timer >/dev/null 2>&1
    cp "$here/tests/vm/task.service" "$base/etc/systemd/system/"
    chroot "$base" systemctl enable task >/dev/null 2>&1
    touch "$cache/complete"
fi

pack() { # the checkout as a tar archive of /vagrant
    (cd "$here" && git ls-files -z --cached --others --exclude-standard |
        tar -c --null --ignore-failed-read --transform 's,^,vagrant/,' -T -)
}

# What the setup script would install anew makes a new disk.
wanted=$(cd "$here" && cat tests/vm/* scripts/setup.sh pyproject.toml setup.py minipod/api/schema_build.py | sha256sum)
if [ ! -f "$cache/prepared" ] || [ "$(cat "$cache/prepared")" != "$wanted" ]; then
    say "installing what scripts/setup.sh installs, once (log: $cache/setup.log)"
    rm -f "$cache/prepared"
    pack | tar -x -C "$base"
    rm -f "$base/etc/resolv.conf"
    cp /etc/resolv.conf "$base/etc/resolv.conf"
    unshare --mount sh -c 'mount -t proc proc "$1/proc" && exec chroot "$1" env -i HOME=/root PATH="$PATH" \
        sh -c "cd /vagrant && sh scripts/setup.sh --test .venv && sh scripts/setup.sh /opt/minipod"' \
        sh "$base" >"$cache/setup.log" 2>&1 || { tail "$cache/setup.log" >&2; exit 1; }
    pack | tar -t | (cd "$base" && xargs -d '\n' rm -rf vagrant/build)
    cp "$here/tests/vm/task.service" "$base/etc/systemd/system/"
    ln -sf ../run/systemd/resolve/stub-resolv.conf "$base/etc/resolv.conf"
    rm -f "$cache/disk"
    mkfs.ext4 -q -d "$base" "$cache/disk" 12G
    printf '%s' "$wanted" >"$cache/prepared"
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/minipod-vm.XXXXXX")
machine=
trap '[ -z "$machine" ] || kill "$machine" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir "$work/root"
printf '%s\n' "$command" >"$work/root/command"
pack >"$work/checkout.tar"
tar -r -C "$work" -f "$work/checkout.tar" root/command
set -- "$base"/boot/vmlinuz-*
kernel=${1#"$base/boot/vmlinuz-"}

accelerate="-accel tcg -cpu max"
[ "${MINIPOD_VM_ACCEL:-kvm}" = kvm ] && [ -w /dev/kvm ] && accelerate="-accel kvm -cpu host"
say "booting Linux $kernel"
# shellcheck disable=SC2086
TMPDIR=$work qemu-system-x86_64 $accelerate -m 4G -smp "${MINIPOD_VM_CPUS:-2}" -nographic -no-reboot \
    -kernel "$base/boot/vmlinuz-$kernel" -initrd "$base/boot/initrd.img-$kernel" \
    -append "root=/dev/vda rw console=ttyS0 quiet systemd.unified_cgroup_hierarchy=1 systemd.show_status=0" \
    -drive "file=$cache/disk,format=raw,if=virtio,cache=unsafe,snapshot=on" \
    -drive "file=$work/checkout.tar,format=raw,if=virtio,readonly=on" \
    -netdev user,id=lan -device virtio-net-pci,netdev=lan \
    -device virtio-serial -chardev "file,id=task,path=$work/output" -device virtconsole,chardev=task \
    -serial "file:$work/console" -monitor none -display none </dev/null &
machine=$!
touch "$work/output"
tail -f --pid=$machine "$work/output" &
wait $machine || true
machine=
wait
status=$(tr -d '\r' <"$work/output" | sed -n 's/^minipod-vm-exit-status: //p')
if [ -z "$status" ]; then
    tail -n 30 "$work/console" >&2
    echo "run.sh: the machine stopped before the command had ended" >&2
    exit 1
fi
exit "$status"
