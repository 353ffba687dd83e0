"""The C library's memory: how many arenas malloc(3) may make, and what of them goes back to the kernel."""

import ctypes

_M_ARENA_MAX = -8  # mallopt(3)


def limit_arenas(count: int) -> bool:
    """Let all threads of this process share `count` arenas; return whether the C library knows how (glibc does).

    By default every thread gets its own, up to eight for each processor, and what one has freed no other uses again.
    Threads that run Python take turns anyway. Call before there are threads.
    """
    library = ctypes.CDLL(None)
    mallopt = getattr(library, "mallopt", None)
    return mallopt is not None and mallopt(_M_ARENA_MAX, count) == 1


def give_back() -> bool:
    """Give freed memory back to the kernel (malloc_trim(3)); return whether there was any.

    By itself the C library gives back what lies at the end of its heap, and a single block there keeps all before it.
    """
    library = ctypes.CDLL(None)
    trim = getattr(library, "malloc_trim", None)
    return trim is not None and trim(0) == 1
