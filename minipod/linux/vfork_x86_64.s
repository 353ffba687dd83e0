# A vfork that executes a file at once, for x86-64 (see vfork.py). `as` makes these bytes of it; a test compares them.
# long f(clone_args, their size, program, argv, empty, *error): the child writes to nothing but the error.
        .intel_syntax noprefix
        mov     r10, rcx                # the kernel takes rcx; what else is kept: rdi, rsi, rdx, r8, r9, r10
        mov     eax, 435                # clone3(clone_args, size)
        syscall
        test    eax, eax
        jnz     done
        mov     edi, edx                # in the child: execveat(program, empty, argv, empty, AT_EMPTY_PATH)
        mov     rsi, r8
        mov     rdx, r10
        mov     r10, r8
        mov     r8d, 0x1000
        mov     eax, 322
        syscall
        mov     [r9], eax               # it has failed: the memory is the parent's too
        mov     eax, 231                # exit_group(127)
        mov     edi, 127
        syscall
done:   ret
