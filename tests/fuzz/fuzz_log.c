/*
 * A container's log, in one segment or two, and its index as lines: whatever the files hold, the reader ends, and what it gives is whole frames of bounded size.
 *
 * Input: flags, tail, a 16-bit length of the index (little-endian), the index, the log.
 */
#include "backends/core/log_lines.h"

#include <sys/mman.h>
#include <unistd.h>

enum {
    HEAD = 4,
    HAS_TTY = 1,
    STDOUT = 2,
    STDERR = 4,
    TIMESTAMPS = 8,
    DETAILS = 16,
    TAIL = 32,
    SINCE = 64,
    UNTIL = 128,
    IS_SPLIT = 1, /* of tail: the log is in two segments, */
    HAS_GAP = 2,  /* and the first lacks its end */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int
file_of(const uint8_t *data, size_t n)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    g_assert_cmpint(write(fd, data, n), ==, (ssize_t)n);
    return fd;
}

static void
check_frames(const uint8_t *data, size_t n)
{
    while (n > 0) {
        SlStdStream stream;
        uint32_t size;

        g_assert_cmpuint(n, >=, SL_STDCOPY_HEADER);
        if (data[0] == SL_STD_SYSTEM)
            size = (uint32_t)data[6] << 8 | data[7];
        else
            g_assert_true(sl_stdcopy_get_header(data, &stream, &size));
        g_assert_cmpuint(size, <=, SL_LOG_ENTRY_MAX + 100);
        g_assert_cmpuint(size, <=, n - SL_STDCOPY_HEADER);
        data += SL_STDCOPY_HEADER + size;
        n -= SL_STDCOPY_HEADER + size;
    }
}

static void
read_up_to(SlLogLines *lines, uint64_t limit, bool is_final, bool has_tty)
{
    SlLogStep step;
    unsigned n_steps = 0;

    do {
        const void *block = NULL;
        size_t n = 0;

        step = sl_log_lines_next(lines, limit, is_final, &block, &n);
        if (step == SL_LOG_STEP_BLOCK && !has_tty)
            check_frames(block, n);
        g_assert_cmpuint(++n_steps, <, limit + 16);
    } while (step == SL_LOG_STEP_BLOCK || step == SL_LOG_STEP_MORE);
    g_assert_true(!is_final || step == SL_LOG_STEP_END);
}

/* The log in two segments, or one. */
typedef struct Source {
    SlLogPart parts[2];
    unsigned n_parts;
} Source;

static SlLogPlace
find_part(void *user, uint64_t offset, SlLogPart *ret_part, uint64_t *ret_offset)
{
    const Source *source = user;
    unsigned i = source->n_parts > 1 && offset >= source->parts[0].end ? 1 : 0;

    *ret_part = source->parts[i];
    *ret_offset = MAX(offset, ret_part->base);
    if (*ret_offset > offset && source->parts[1].base % 2 == 0)
        return SL_LOG_PLACE_LOST;
    return SL_LOG_PLACE_FOUND;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < HEAD)
        return 0;

    uint8_t flags = data[0];
    size_t n_index = MIN(n - HEAD, (size_t)data[2] | (size_t)data[3] << 8), n_log = n - HEAD - n_index;
    SlLogQuery query = { .stdout_ = flags & STDOUT,
                         .stderr_ = flags & STDERR,
                         .timestamps = flags & TIMESTAMPS,
                         .details = flags & DETAILS,
                         .details_text = "a=b",
                         .tail = flags & TAIL ? data[1] : -1,
                         .since_ns = flags & SINCE ? 1000 : 0,
                         .until_ns = flags & UNTIL ? 5000 : 0 };
    g_autoptr(SlLogLines) lines = sl_log_lines_new(&query, flags & HAS_TTY);
    size_t n_first = data[1] & IS_SPLIT ? n_log * data[1] / 256 : n_log,
           n_gap = data[1] & HAS_GAP ? MIN(n_first, 3) : 0;
    const uint8_t *log = data + HEAD + n_index;
    int index_fd = file_of(data + HEAD, n_index), fd = file_of(log, n_first),
        next_fd = file_of(log + n_first, n_log - n_first);
    Source source = { .parts = { { fd, index_fd, 0, data[1] & IS_SPLIT ? n_first - n_gap : UINT64_MAX },
                                 { next_fd, index_fd, n_first, UINT64_MAX } },
                      .n_parts = data[1] & IS_SPLIT ? 2 : 1 };

    sl_log_lines_set_source(lines, find_part, &source);
    sl_log_lines_seek(lines, n_log / 2, false);
    read_up_to(lines, n_log / 2, false, flags & HAS_TTY);
    read_up_to(lines, n_log, true, flags & HAS_TTY);
    close(fd);
    close(next_fd);
    close(index_fd);
    return 0;
}
