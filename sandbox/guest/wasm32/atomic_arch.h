/* The guest has one thread, so plain memory operations are atomic. */
#define a_cas a_cas
static inline int
a_cas(volatile int *at, int expected, int wanted)
{
    int old = *at;

    if (old == expected)
        *at = wanted;
    return old;
}

#define a_swap a_swap
static inline int
a_swap(volatile int *at, int wanted)
{
    int old = *at;

    *at = wanted;
    return old;
}

#define a_barrier a_barrier
static inline void
a_barrier(void)
{
}

#define a_crash a_crash
static inline void
a_crash(void)
{
    __builtin_trap();
}
