"""The shim: one small, long-lived process that is the parent of every container of one root.

It owns their pipes and exit codes, so that the daemon may crash, be upgraded or be killed and nothing is lost.
Single-threaded around an epoll loop; loads the standard library and `minipod.linux` (never netlink or nftables), for it
is there as long as its containers are. `python -m minipod.runtime.shim --root DIR`.

    loop         descriptors, timers, signals; bulk copying in fair turns
    connection   one daemon's connection: frames in, frames out
    records      what is known of sandboxes and containers, and its file under run/shim
    logs         CRI log lines, rotation, full disks
    output       copies a container's output to its log and to attached clients
    processes    the children: who waits for which, and how it ended
    launching    from a plan's steps to a running process, and the pipes between
    holding      a Pod's processes held, while a program goes on that they keep from it
    removal      cgroups, removed as soon as the kernel says that they are empty
    core         what the following share
    sandboxes, containers, sessions    the verbs
    server       the process: lock, socket, dispatch of verbs
    upgrade      re-exec in place, nothing lost
    recovery     what a killed predecessor left
"""
