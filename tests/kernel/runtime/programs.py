"""Static programs of a few bytes that make one system call and exit with its error number."""

import struct

# mov eax, NUMBER; the argument in ebx (32 bits) or rdi; call; neg eax; exit with it
_CALL_32 = "b8{} bb{} cd80 f7d8 89c3 b801000000 cd80"
_CALL_64 = "b8{} 48bf{} 0f05 f7d8 89c7 b8e7000000 0f05"
X32 = 0x40000000  # in a number: the call is x32's


def one_call(number: int, argument: int, *, bits: int = 64) -> bytes:
    """Return a 64-bit program whose call is made as `bits` has it; its exit code is 0 or the error's number."""
    calling, word = (_CALL_32, "<I") if bits == 32 else (_CALL_64, "<Q")
    words = struct.pack("<I", number).hex(), struct.pack(word, argument).hex()
    return _executable(bytes.fromhex(calling.format(*words)))


def stop_all_for_ever() -> bytes:
    """Return a 64-bit program that stops every process that it may, as fast as a processor can."""
    # mov eax, kill; mov rdi, -1; mov esi, SIGSTOP; syscall; once more
    return _executable(bytes.fromhex("b83e000000 48c7c7ffffffff be13000000 0f05 ebeb"))


def _executable(code: bytes) -> bytes:
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = 120 + len(code)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, size, size, 4096) + code
