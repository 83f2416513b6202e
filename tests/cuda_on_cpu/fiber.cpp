// fiber.cpp: switching stacks: a few instructions on x86-64 and arm64, ucontext elsewhere. Tells AddressSanitizer which
// stack is in use, so that its reports and its poisoning stay right.
#include "fiber.h"

#include <cstdint>
#include <cstdlib>

#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#ifdef FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__) || defined(__aarch64__)
#define FIBER_ASM 1
#else
#include <ucontext.h>
#endif

static const size_t STACK = 256 * 1024, GUARD = 64 * 1024;

struct fiber {
    char *memory, *stack; /* GUARD bytes that fault, then STACK bytes */
    void (*run)(void *);
    void *argument;
#ifdef FIBER_ASM
    void *inside, *outside; /* stack pointers of the side that waits */
#else
    ucontext_t inside, outside;
#endif
    void *fake_inside, *fake_outside; /* AddressSanitizer's */
    const void *outside_bottom;
    size_t outside_size;
};

#ifdef __x86_64__
asm(".text\n"
    ".type omnid_fiber_switch, @function\n"
    "omnid_fiber_switch:\n"
    "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n    pushq %r13\n    pushq %r14\n    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    popq %r15\n    popq %r14\n    popq %r13\n    popq %r12\n    popq %rbx\n    popq %rbp\n"
    "    ret\n"
    ".size omnid_fiber_switch, . - omnid_fiber_switch\n");
enum { SAVED = 6, ENTRY_AT = 6 }; /* words below the entry's address */
#elif defined(__aarch64__)
asm(".text\n"
    ".type omnid_fiber_switch, %function\n"
    "omnid_fiber_switch:\n"
    "    sub sp, sp, #160\n"
    "    stp x19, x20, [sp, #0]\n    stp x21, x22, [sp, #16]\n    stp x23, x24, [sp, #32]\n"
    "    stp x25, x26, [sp, #48]\n    stp x27, x28, [sp, #64]\n    stp x29, x30, [sp, #80]\n"
    "    stp d8, d9, [sp, #96]\n    stp d10, d11, [sp, #112]\n    stp d12, d13, [sp, #128]\n    stp d14, d15, [sp, "
    "#144]\n"
    "    mov x2, sp\n    str x2, [x0]\n    mov sp, x1\n"
    "    ldp x19, x20, [sp, #0]\n    ldp x21, x22, [sp, #16]\n    ldp x23, x24, [sp, #32]\n"
    "    ldp x25, x26, [sp, #48]\n    ldp x27, x28, [sp, #64]\n    ldp x29, x30, [sp, #80]\n"
    "    ldp d8, d9, [sp, #96]\n    ldp d10, d11, [sp, #112]\n    ldp d12, d13, [sp, #128]\n    ldp d14, d15, [sp, "
    "#144]\n"
    "    add sp, sp, #160\n"
    "    ret\n"
    ".size omnid_fiber_switch, . - omnid_fiber_switch\n");
enum { SAVED = 20, ENTRY_AT = 11 };
#endif
#ifdef FIBER_ASM
extern "C" void omnid_fiber_switch(void **save, void *load) __asm__("omnid_fiber_switch");
#endif

static fiber *entering; /* the fiber whose first instruction comes next */

static void fiber_main()
{
    fiber *f = entering;
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &f->outside_bottom, &f->outside_size);
#endif
    f->run(f->argument);
    abort();
}

fiber *fiber_new(void (*run)(void *), void *argument)
{
    fiber *f = static_cast<fiber *>(calloc(1, sizeof *f));
    if (!f)
        return nullptr;
    void *memory =
        mmap(nullptr, GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, GUARD, PROT_NONE) != 0) {
        free(f);
        return nullptr;
    }
    f->memory = static_cast<char *>(memory);
    f->stack = f->memory + GUARD;
    f->run = run;
    f->argument = argument;
#ifdef FIBER_ASM
    /* As if fiber_main had been called: at its first instruction the stack is 16-byte aligned less one word on x86-64. */
    void **top = reinterpret_cast<void **>(f->stack + STACK) - 4;
    void **frame = top - SAVED;
#ifdef __x86_64__
    frame -= 2;
    frame[SAVED + 1] = nullptr; /* where fiber_main would return to */
#endif
    for (int i = 0; i < SAVED; i++)
        frame[i] = nullptr;
    frame[ENTRY_AT] = reinterpret_cast<void *>(fiber_main);
    f->inside = frame;
#else
    getcontext(&f->inside);
    f->inside.uc_stack.ss_sp = f->stack;
    f->inside.uc_stack.ss_size = STACK;
    makecontext(&f->inside, fiber_main, 0);
#endif
    return f;
}

void fiber_resume(fiber *f)
{
    entering = f;
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(&f->fake_outside, f->stack, STACK);
#endif
#ifdef FIBER_ASM
    omnid_fiber_switch(&f->outside, f->inside);
#else
    swapcontext(&f->outside, &f->inside);
#endif
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(f->fake_outside, nullptr, nullptr);
#endif
}

void fiber_yield(fiber *f)
{
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(&f->fake_inside, f->outside_bottom, f->outside_size);
#endif
#ifdef FIBER_ASM
    omnid_fiber_switch(&f->inside, f->outside);
#else
    swapcontext(&f->inside, &f->outside);
#endif
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(f->fake_inside, &f->outside_bottom, &f->outside_size);
#endif
}

void fiber_free(fiber *f)
{
    if (!f)
        return;
    munmap(f->memory, GUARD + STACK);
    free(f);
}
