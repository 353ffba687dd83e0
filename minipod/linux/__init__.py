"""The kernel: one thin function per system call, mounts, cgroups, netlink. Knows no containers."""
