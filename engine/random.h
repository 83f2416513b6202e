/* random.h: the two generators docs/semantics.md names. */
#ifndef ENGINE_RANDOM_H
#define ENGINE_RANDOM_H

#include <stdint.h>

/* One output of splitmix64 started at x (Steele, Lea, Flood 2014). */
static inline uint64_t random_splitmix64(uint64_t x)
{
    uint64_t z = x + 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Policy `random` (section 5): after layer l the tokens with the lowest key leave. index: among the tokens that entered. */
static inline uint64_t random_policy_key(uint64_t seed, int layer, uint32_t index)
{
    return random_splitmix64(seed ^ ((uint64_t)layer << 32) ^ index);
}

/* PCG32 (O'Neill 2014, XSH RR 64/32). */
typedef struct {
    uint64_t state, increment; /* increment is odd */
} random_pcg32;

static inline uint32_t random_pcg32_next(random_pcg32 *r)
{
    uint64_t old = r->state;
    r->state = old * 6364136223846793005u + r->increment;
    uint32_t shifted = (uint32_t)(((old >> 18) ^ old) >> 27);
    uint32_t turn = (uint32_t)(old >> 59);
    return (shifted >> turn) | (shifted << ((32 - turn) & 31));
}

/* The reference's srandom: stream 0 unless there are several. */
static inline random_pcg32 random_pcg32_seed(uint64_t seed, uint64_t stream)
{
    random_pcg32 r = {0, stream << 1 | 1};
    random_pcg32_next(&r);
    r.state += seed;
    random_pcg32_next(&r);
    return r;
}

/* Uniform in [0, 1): 32 bits. */
static inline double random_pcg32_uniform(random_pcg32 *r)
{
    return (double)random_pcg32_next(r) * 0x1p-32;
}

#endif
