#include "oci/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/digest.h"
#include "oci/unpack_entry.h"
#include "oci/unpack_stream.h"

enum { CHUNK_BYTES = 64 * 1024 };

typedef struct archive Archive;

static void
reader_free(Archive *archive)
{
    if (archive)
        archive_read_free(archive);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Archive, reader_free)

/*
 * Two readers in a row: the outer one only decompresses, so that the uncompressed tar can be counted and its
 * digest taken before the inner one parses it. Filters are named one by one: libarchive would run programs
 * for those that it has not built in.
 */
typedef struct Stream {
    int fd;
    bool is_file; /* never blocks, so poll is not needed */
    SlCancel *cancel;
    SlUnpackBudget *budget;
    SlDigester *digester;
    Archive *outer;
    char *raw;   /* CHUNK_BYTES, read from fd */
    char *plain; /* CHUNK_BYTES, decompressed */
    bool is_empty;
    GError *error; /* the first; libarchive has no way to carry it */
} Stream;

static void
stream_clear(Stream *stream)
{
    reader_free(stream->outer);
    sl_digester_free(stream->digester);
    g_free(stream->raw);
    g_free(stream->plain);
    g_clear_error(&stream->error);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Stream, stream_clear)

static la_ssize_t
raw_read(Archive *archive, void *data, const void **ret_block)
{
    Stream *stream = data;
    ssize_t n;

    do {
        if (!stream->is_file && !sl_cancel_wait_fd(stream->cancel, stream->fd, POLLIN, -1, &stream->error))
            return -1;
        n = read(stream->fd, stream->raw, CHUNK_BYTES);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n < 0)
        sl_fail_errno(&stream->error, errno, "reading an archive");
    *ret_block = stream->raw;
    return n;
}

/* The next piece of the uncompressed tar; 0 at its end, -1 with stream->error. */
static la_ssize_t
plain_next(Stream *stream)
{
    la_ssize_t n;

    if (stream->is_empty)
        return 0;
    if (sl_cancel_is_fired(stream->cancel)) {
        sl_fail(&stream->error, SL_ERROR_CANCELLED, "cancelled");
        return -1;
    }
    n = archive_read_data(stream->outer, stream->plain, CHUNK_BYTES);
    if (n < 0) {
        if (!stream->error)
            sl_fail(&stream->error, SL_ERROR_INVALID, "invalid archive: %s",
                    archive_error_string(stream->outer));
        return -1;
    }
    if (n > stream->budget->bytes_left) {
        sl_fail(&stream->error, SL_ERROR_TOO_LARGE,
                "archive is too large: it goes over the limit when unpacked");
        return -1;
    }
    stream->budget->bytes_left -= n;
    sl_digester_update(stream->digester, stream->plain, (size_t)n);
    return n;
}

static la_ssize_t
plain_read(Archive *archive, void *data, const void **ret_block)
{
    Stream *stream = data;

    *ret_block = stream->plain;
    return plain_next(stream);
}

static bool
filters_add(Archive *archive, SlUnpackFilters filters, GError **error)
{
    /* ARCHIVE_WARN would mean "through an external program". */
    bool ok = archive_read_support_filter_gzip(archive) == ARCHIVE_OK &&
              archive_read_support_filter_zstd(archive) == ARCHIVE_OK;

    if (ok && filters == SL_UNPACK_ARCHIVE)
        ok = archive_read_support_filter_xz(archive) == ARCHIVE_OK &&
             archive_read_support_filter_bzip2(archive) == ARCHIVE_OK;
    if (!ok)
        return sl_fail(error, SL_ERROR_UNSUPPORTED, "libarchive was built without gzip, zstd, xz or bzip2");
    return true;
}

static bool
stream_open(Stream *stream, SlUnpackFilters filters, GError **error)
{
    struct archive_entry *ignored;
    struct stat status;
    int result;

    stream->is_file = fstat(stream->fd, &status) == 0 && S_ISREG(status.st_mode);
    stream->digester = sl_digester_new();
    stream->raw = g_malloc(CHUNK_BYTES);
    stream->plain = g_malloc(CHUNK_BYTES);
    stream->outer = archive_read_new();
    if (!filters_add(stream->outer, filters, error))
        return false;
    archive_read_support_format_raw(stream->outer);
    archive_read_support_format_empty(stream->outer);

    result = archive_read_open(stream->outer, stream, NULL, raw_read, NULL);
    if (result == ARCHIVE_OK)
        result = archive_read_next_header(stream->outer, &ignored);
    if (result == ARCHIVE_EOF) {
        stream->is_empty = true;
        return true;
    }
    if (result >= ARCHIVE_WARN)
        return true;
    if (stream->error) {
        g_propagate_error(error, g_steal_pointer(&stream->error));
        return false;
    }
    return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s", archive_error_string(stream->outer));
}

/* An error of the layers below says more than libarchive's own sentence. */
static bool
stream_fail(Stream *stream, Archive *inner, GError **error)
{
    if (stream->error) {
        g_propagate_error(error, g_steal_pointer(&stream->error));
        return false;
    }
    return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s", archive_error_string(inner));
}

static bool
entries_unpack(Stream *stream, SlUnpackTarget *target, int64_t *bytes, GError **error)
{
    g_autoptr(Archive) inner = archive_read_new();
    int result;

    archive_read_support_format_tar(inner);
    archive_read_support_format_empty(inner);
    if (archive_read_open(inner, stream, NULL, plain_read, NULL) != ARCHIVE_OK)
        return stream_fail(stream, inner, error);

    for (;;) {
        struct archive_entry *entry;
        int64_t n;

        result = archive_read_next_header(inner, &entry);
        if (result == ARCHIVE_EOF)
            return true;
        if (result < ARCHIVE_WARN || stream->error)
            return stream_fail(stream, inner, error);
        if (--stream->budget->files_left < 0)
            return sl_fail(error, SL_ERROR_TOO_LARGE, "archive is too large: too many files");
        if (!sl_unpack_entry(target, inner, entry, &n, error)) {
            if (stream->error) {
                g_clear_error(error);
                return stream_fail(stream, inner, error);
            }
            return false;
        }
        *bytes += n;
    }
}

/* What follows the tar's end belongs to its digest. */
static bool
rest_read(Stream *stream, GError **error)
{
    la_ssize_t n;

    while ((n = plain_next(stream)) > 0)
        continue;
    if (n < 0)
        g_propagate_error(error, g_steal_pointer(&stream->error));
    return n == 0;
}

void
sl_unpack_budget_init(SlUnpackBudget *budget, const SlUnpackLimits *limits)
{
    budget->bytes_left = limits && limits->max_bytes > 0 ? limits->max_bytes : G_GINT64_CONSTANT(64) << 30;
    budget->files_left = limits && limits->max_files > 0 ? limits->max_files : 2000000;
}

bool
sl_unpack_stream(int tar_fd, int folder_fd, SlUnpackFilters filters, SlUnpackBudget *budget, SlCancel *cancel,
                 char **ret_diff_id, int64_t *ret_bytes, GError **error)
{
    g_auto(Stream) stream = { .fd = tar_fd, .cancel = cancel, .budget = budget };
    g_auto(SlUnpackTarget) target = { 0 };
    int64_t bytes = 0;

    if (!stream_open(&stream, filters, error) ||
        !sl_unpack_target_open(&target, folder_fd, budget, cancel, error))
        return false;
    if (!entries_unpack(&stream, &target, &bytes, error) || !sl_unpack_target_finish(&target, error) ||
        !rest_read(&stream, error))
        return false;

    if (ret_diff_id)
        *ret_diff_id = sl_digester_finish(stream.digester);
    if (ret_bytes)
        *ret_bytes = bytes;
    return true;
}

bool
sl_unpack_layer(int tar_fd, int folder_fd, const SlUnpackLimits *limits, SlCancel *cancel, char **ret_diff_id,
                int64_t *ret_bytes, GError **error)
{
    SlUnpackBudget budget;

    sl_unpack_budget_init(&budget, limits);
    return sl_unpack_stream(tar_fd, folder_fd, SL_UNPACK_ARCHIVE, &budget, cancel, ret_diff_id, ret_bytes,
                            error);
}
