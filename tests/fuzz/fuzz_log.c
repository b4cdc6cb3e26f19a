/*
 * A container's log and its index as lines: whatever the files hold, the reader ends, and what it gives is whole frames of bounded size.
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
    UNTIL = 128
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
    int index_fd = file_of(data + HEAD, n_index), fd = file_of(data + HEAD + n_index, n_log);

    sl_log_lines_set_files(lines, fd, index_fd);
    sl_log_lines_seek(lines, n_log / 2, false);
    read_up_to(lines, n_log / 2, false, flags & HAS_TTY);
    read_up_to(lines, n_log, true, flags & HAS_TTY);
    close(fd);
    close(index_fd);
    return 0;
}
