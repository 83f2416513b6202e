/* fiber.h: stacks that hand the processor to each other; one for each CUDA thread of the block that runs. */
#ifndef OMNID_CUDA_ON_CPU_FIBER_H
#define OMNID_CUDA_ON_CPU_FIBER_H

#include <cstddef>

struct fiber;

/* A fiber that calls run(argument) when it is first resumed; run never returns. NULL: no memory for a stack. */
fiber *fiber_new(void (*run)(void *), void *argument);
/* From the thread's own stack: runs f until it yields. */
void fiber_resume(fiber *f);
/* From inside f: goes back to where it was resumed. */
void fiber_yield(fiber *f);
void fiber_free(fiber *f);

#endif
