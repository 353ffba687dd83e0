# The machine for x86-64 (see machine.py). `as` makes these bytes of it; a test compares them.
# rbx: the instruction that is performed. Offsets in it: 0 number, 4 which arguments are read from memory, 8 arguments,
# 56 where the result goes, 64 errors that do not fail, 72 where to go on then, 76 where to go on after a zero.
        .intel_syntax noprefix
        .set    PROGRAM, 0x10000000
        .set    FIRST, 0x10010000

        mov     eax, 157                # prctl(PR_SET_DUMPABLE, 0)
        mov     edi, 4
        xor     esi, esi
        syscall
        mov     rsi, [rsp + 8]          # argv[0]: the program's descriptor, in decimal
        xor     ebp, ebp
digit:  movzx   eax, byte ptr [rsi]
        inc     rsi
        sub     eax, 48
        jb      number
        imul    ebp, ebp, 10
        add     ebp, eax
        jmp     digit
number: mov     eax, 8                  # lseek(descriptor, 0, SEEK_END)
        mov     edi, ebp
        xor     esi, esi
        mov     edx, 2
        syscall
        mov     rsi, rax                # mmap(PROGRAM, size, READ | WRITE, PRIVATE | FIXED_NOREPLACE, descriptor, 0)
        mov     eax, 9
        mov     edi, PROGRAM
        mov     edx, 3
        mov     r10d, 0x100002
        mov     r8d, ebp
        xor     r9d, r9d
        syscall
        mov     eax, 3                  # close(descriptor)
        mov     edi, ebp
        syscall
        mov     ebx, FIRST

perform:
        mov     rdi, [rbx + 8]
        mov     rsi, [rbx + 16]
        mov     rdx, [rbx + 24]
        mov     r10, [rbx + 32]
        mov     r8, [rbx + 40]
        mov     r9, [rbx + 48]
        mov     ebp, [rbx + 4]
        shr     ebp, 1
        jnc     1f
        mov     rdi, [rdi]
1:      shr     ebp, 1
        jnc     1f
        mov     rsi, [rsi]
1:      shr     ebp, 1
        jnc     1f
        mov     rdx, [rdx]
1:      shr     ebp, 1
        jnc     1f
        mov     r10, [r10]
1:      shr     ebp, 1
        jnc     1f
        mov     r8, [r8]
1:      shr     ebp, 1
        jnc     1f
        mov     r9, [r9]
1:      mov     eax, [rbx]
        test    eax, eax
        js      compare
        syscall
        mov     rcx, [rbx + 56]
        mov     [rcx], rax
        cmp     rax, -4095
        jae     failed
        test    rax, rax
        jnz     next
        mov     ecx, [rbx + 76]
        test    ecx, ecx
        jz      next
        mov     ebx, ecx
        jmp     perform
compare:                                # no call: go on elsewhere if (*first & second) == third
        mov     rax, [rdi]
        and     rax, rsi
        mov     rcx, [rbx + 56]
        mov     [rcx], rax
        cmp     rax, rdx
        jne     next
        mov     ebx, [rbx + 72]
        jmp     perform
next:   add     rbx, 80
        jmp     perform
failed: neg     eax
        mov     rcx, [rbx + 64]
        bt      rcx, rax                # of the number, the low six bits
        jnc     report
        mov     ebx, [rbx + 72]
        jmp     perform
report: mov     ecx, PROGRAM            # note what failed and how, and go on where the program has that told
        mov     [rcx], rbx
        mov     [rcx + 8], rax
        mov     ebx, [rcx + 16]
        jmp     perform
