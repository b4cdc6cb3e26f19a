/* mmap for a linear memory that only grows: a page allocator with a list of free runs. */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "syscall.h"

#include "runtime.h"

enum { PAGE = 4096, WASM_PAGE = 65536, MAX_FREE_RUNS = 512 };

typedef struct Run {
    uint32_t start, length;
} Run;

extern char __heap_base;

static Run free_runs[MAX_FREE_RUNS];
static int n_free_runs;
static uint32_t next, limit; /* first page never handed out (or given back), end of memory */
static uint32_t used_up_to;  /* pages from here on have never been written, so they are zero */

static uint32_t
whole_pages(uint32_t length)
{
    return (length + PAGE - 1) & ~(PAGE - 1);
}

static void
run_remove(int i)
{
    free_runs[i] = free_runs[--n_free_runs];
}

static void
pages_free(uint32_t start, uint32_t length)
{
    for (int i = 0; i < n_free_runs;) {
        Run run = free_runs[i];

        if (run.start + run.length == start)
            start = run.start;
        else if (start + length != run.start) {
            i++;
            continue;
        }
        length += run.length;
        run_remove(i);
        i = 0;
    }
    if (start + length == next)
        next = start;
    else if (n_free_runs < MAX_FREE_RUNS)
        free_runs[n_free_runs++] = (Run){ start, length };
}

static int
memory_grow(uint32_t missing)
{
    uint32_t pages = missing / WASM_PAGE + (missing % WASM_PAGE != 0);

    if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1)
        return 0;
    limit += pages * WASM_PAGE;
    return 1;
}

/* 0 when there is no memory; the pages are zeroed. */
static uint32_t
pages_take(uint32_t length)
{
    uint32_t start, dirty;

    for (int i = 0; i < n_free_runs; i++) {
        if (free_runs[i].length < length)
            continue;
        start = free_runs[i].start;
        free_runs[i].start += length;
        free_runs[i].length -= length;
        if (!free_runs[i].length)
            run_remove(i);
        memset((void *)start, 0, length);
        return start;
    }

    if (!next) {
        next = whole_pages((uint32_t)&__heap_base);
        used_up_to = next;
        limit = __builtin_wasm_memory_size(0) * WASM_PAGE;
    }
    if (length > limit - next && !memory_grow(length - (limit - next)))
        return 0;
    start = next;
    next += length;
    if (start < used_up_to) {
        dirty = used_up_to - start;
        memset((void *)start, 0, dirty < length ? dirty : length);
    }
    if (next > used_up_to)
        used_up_to = next;
    return start;
}

static long
file_read(long fd, uint32_t to, uint32_t length, uint64_t offset)
{
    uint32_t done = 0;

    while (done < length) {
        uint64_t at = offset + done;
        long n = sl_host_call(SYS_pread64, fd, to + done, length - done, (long)at, (long)(at >> 32), 0);

        if (n < 0)
            return n;
        if (n == 0)
            break;
        done += n;
    }
    return 0;
}

long
sl_mmap(long start, long length, long protection, long flags, long fd, long page)
{
    uint32_t size = whole_pages(length);
    uint32_t at;

    if (flags & MAP_FIXED || length == 0)
        return -EINVAL;
    if (size < (uint32_t)length)
        return -ENOMEM;
    if (!(flags & MAP_ANON) && (flags & MAP_SHARED) && (protection & PROT_WRITE))
        return -ENODEV; /* a copy would never reach the file */
    at = pages_take(size);
    if (!at)
        return -ENOMEM;
    if (!(flags & MAP_ANON)) {
        long result = file_read(fd, at, length, (uint64_t)(uint32_t)page * PAGE);

        if (result < 0) {
            pages_free(at, size);
            return result;
        }
    }
    return at;
}

long
sl_munmap(long start, long length)
{
    pages_free(start, whole_pages(length));
    return 0;
}

long
sl_mremap(long start, long old_length, long new_length, long flags)
{
    uint32_t before = whole_pages(old_length);
    uint32_t after = whole_pages(new_length);
    uint32_t at;

    if (after < (uint32_t)new_length)
        return -ENOMEM;
    if (after == before)
        return start;
    if (after < before) {
        pages_free(start + after, before - after);
        return start;
    }
    if (!(flags & MREMAP_MAYMOVE))
        return -ENOMEM;
    at = pages_take(after);
    if (!at)
        return -ENOMEM;
    memcpy((void *)at, (void *)start, before);
    pages_free(start, before);
    return at;
}
