/* fault.h: memory that runs out on purpose. The program is linked with --wrap for the allocating functions; while a thread
 * is armed, the n-th allocation of its own code fails. */
#ifndef TESTS_FAULTS_FAULT_H
#define TESTS_FAULTS_FAULT_H

#include <stdbool.h>

/* The next allocations of this thread are counted, and the one with this number (from 0) fails; -1: none does. */
void fault_arm(int n);
/* No more counting. Whether an allocation failed; *n_seen (may be NULL): how many were asked for. */
bool fault_disarm(int *n_seen);

/* Allocations are counted until fault_recorded, which gives the numbers worth failing: of each chain of callers the first
 * and the last time. *list: malloc'ed for the caller. Returns how many. */
void fault_record(void);
int fault_recorded(int **list);

#endif
