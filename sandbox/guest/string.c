/* With -mbulk-memory clang turns these builtins into memory.copy and memory.fill. */
#include <stddef.h>

void *
memcpy(void *restrict to, const void *restrict from, size_t n)
{
    __builtin_memcpy(to, from, n);
    return to;
}
void *
memmove(void *to, const void *from, size_t n)
{
    __builtin_memmove(to, from, n);
    return to;
}
void *
memset(void *to, int value, size_t n)
{
    __builtin_memset(to, value, n);
    return to;
}
