/* code_pages.h: the memory of code that is made at run time. */
#ifndef KERNELS_CPU_CODE_PAGES_H
#define KERNELS_CPU_CODE_PAGES_H

/* oneDNN maps 256 KiB for each of a product's kernels and fills a tenth of it; Linux joins neighbours, and where it may then
 * makes huge pages of them, all of it resident. Says to the kernel that all code made so far is to stay in small pages. What
 * is made later is apart from it until eight are neighbours again: to be called that often. No effect elsewhere. */
void cpu_code_pages_keep_small(void);

#endif
