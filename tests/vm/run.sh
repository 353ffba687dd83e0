#!/bin/sh
# Runs a command in a virtual machine of its own: Debian with systemd and pure cgroup v2, booted by
# QEMU from an image that debootstrap makes. Needs root, debootstrap, qemu-system-x86 and e2fsprogs.
#
#   run.sh [--suite bookworm|trixie] [COMMAND...]     default: sh scripts/provision.sh && sh scripts/test.sh
#
# The command runs in a copy of this checkout (/vagrant, as Vagrant has it); its output is shown and its exit
# status is this script's. The base image is kept in $MINIPOD_VM_CACHE (default /var/cache/minipod-vm).
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
    cat >"$base/etc/systemd/system/task.service" <<'UNIT'
[Unit]
Description=The command of tests/vm/run.sh
After=network-online.target
Wants=network-online.target
[Service]
Type=oneshot
Environment=HOME=/root
ExecStart=/root/task
StandardOutput=tty
StandardError=tty
TTYPath=/dev/hvc0
ExecStopPost=/usr/bin/systemctl poweroff --no-block
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
UNIT
    chroot "$base" systemctl enable task >/dev/null 2>&1
    touch "$cache/complete"
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/minipod-vm.XXXXXX")
trap 'rm -rf "$work"' EXIT
say "copying the checkout into a fresh disk"
cp -a "$base" "$work/root"
mkdir "$work/root/vagrant"
(cd "$here" && git ls-files -z --cached --others --exclude-standard | tar -c --null -T - ) | tar -x -C "$work/root/vagrant"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$work/root/etc/resolv.conf"
cat >"$work/root/root/task" <<TASK
#!/bin/sh
cd /vagrant
( $command )
echo "minipod-vm-exit-status: \$?"
TASK
chmod 755 "$work/root/root/task"
mkfs.ext4 -q -d "$work/root" "$work/disk" 8G
kernel=$(ls "$work"/root/boot/vmlinuz-* | tail -n 1)
initrd=$(ls "$work"/root/boot/initrd.img-* | tail -n 1)
cp "$kernel" "$work/vmlinuz"
cp "$initrd" "$work/initrd"
rm -rf "$work/root"

accelerate="-accel tcg -cpu max"
[ "${MINIPOD_VM_ACCEL:-kvm}" = kvm ] && [ -w /dev/kvm ] && accelerate="-accel kvm -cpu host"
say "booting"
# shellcheck disable=SC2086
qemu-system-x86_64 $accelerate -m 4G -smp 2 -nographic -no-reboot \
    -kernel "$work/vmlinuz" -initrd "$work/initrd" \
    -append "root=/dev/vda rw console=ttyS0 quiet systemd.unified_cgroup_hierarchy=1 systemd.show_status=0" \
    -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" \
    -netdev user,id=lan -device virtio-net-pci,netdev=lan \
    -device virtio-serial -chardev "file,id=task,path=$work/output" -device virtconsole,chardev=task \
    -serial "file:$work/console" -monitor none -display none </dev/null &
machine=$!
touch "$work/output"
tail -f --pid=$machine "$work/output" &
wait $machine || true
wait
status=$(tr -d '\r' <"$work/output" | sed -n 's/^minipod-vm-exit-status: //p')
if [ -z "$status" ]; then
    tail -n 30 "$work/console" >&2
    echo "run.sh: the machine stopped before the command had ended" >&2
    exit 1
fi
exit "$status"
