// The machine for aarch64 (see machine.py). `as` makes these bytes of it; a test compares them.
// x19: the instruction that is performed. Offsets in it: 0 number, 4 which arguments are read from memory, 8 arguments,
// 56 where the result goes, 64 errors that do not fail, 72 where to go on then, 76 where to go on after a zero.
        .set    PROGRAM, 0x10000000

        mov     x8, #167                // prctl(PR_SET_DUMPABLE, 0)
        mov     x0, #4
        mov     x1, #0
        svc     #0
        ldr     x9, [sp, #8]            // argv[0]: the program's descriptor, in decimal
        mov     x20, #0
        mov     x11, #10
digit:  ldrb    w10, [x9], #1
        subs    w10, w10, #48
        b.lo    number
        madd    x20, x20, x11, x10
        b       digit
number: mov     x8, #62                 // lseek(descriptor, 0, SEEK_END)
        mov     x0, x20
        mov     x1, #0
        mov     x2, #2
        svc     #0
        mov     x1, x0                  // mmap(PROGRAM, size, READ | WRITE, PRIVATE | FIXED_NOREPLACE, descriptor, 0)
        mov     x8, #222
        mov     x0, #PROGRAM
        mov     x2, #3
        mov     x3, #2
        movk    x3, #0x10, lsl #16
        mov     x4, x20
        mov     x5, #0
        svc     #0
        mov     x8, #57                 // close(descriptor)
        mov     x0, x20
        svc     #0
        mov     x21, #PROGRAM
        add     x19, x21, #0x10, lsl #12

perform:
        ldp     x0, x1, [x19, #8]
        ldp     x2, x3, [x19, #24]
        ldp     x4, x5, [x19, #40]
        ldp     w8, w9, [x19]
        tbz     w9, #0, 1f
        ldr     x0, [x0]
1:      tbz     w9, #1, 1f
        ldr     x1, [x1]
1:      tbz     w9, #2, 1f
        ldr     x2, [x2]
1:      tbz     w9, #3, 1f
        ldr     x3, [x3]
1:      tbz     w9, #4, 1f
        ldr     x4, [x4]
1:      tbz     w9, #5, 1f
        ldr     x5, [x5]
1:      ldr     x12, [x19, #56]
        tbnz    w8, #31, compare
        svc     #0
        str     x0, [x12]
        cmn     x0, #4095
        b.hs    failed
        cbnz    x0, next
        ldr     w10, [x19, #76]
        cbz     w10, next
        mov     x19, x10
        b       perform
compare:                                // no call: go on elsewhere if (*first & second) == third
        ldr     x0, [x0]
        and     x0, x0, x1
        str     x0, [x12]
        cmp     x0, x2
        b.ne    next
        ldr     w19, [x19, #72]
        b       perform
next:   add     x19, x19, #80
        b       perform
failed: neg     x0, x0
        ldr     x10, [x19, #64]
        lsr     x10, x10, x0            // by the low six bits of the number
        tbz     w10, #0, report
        ldr     w19, [x19, #72]
        b       perform
report: str     x19, [x21]              // note what failed and how, and go on where the program has that told
        str     x0, [x21, #8]
        ldr     w19, [x21, #16]
        b       perform
