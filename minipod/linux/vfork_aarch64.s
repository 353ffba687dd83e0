// A vfork that executes a file at once, for aarch64 (see vfork.py). `as` makes these bytes of it; a test compares them.
// long f(clone_args, their size, program, argv, empty, *error): the child writes to nothing but the error.
        mov     x8, #435                // clone3(clone_args, size)
        svc     #0
        cbnz    x0, done
        mov     x0, x2                  // in the child: execveat(program, empty, argv, empty, AT_EMPTY_PATH)
        mov     x1, x4
        mov     x2, x3
        mov     x3, x4
        mov     x4, #0x1000
        mov     x8, #281
        svc     #0
        str     w0, [x5]                // it has failed: the memory is the parent's too
        mov     x8, #94                 // exit_group(127)
        mov     x0, #127
        svc     #0
done:   ret
