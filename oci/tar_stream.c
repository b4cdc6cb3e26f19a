#include "oci/tar_stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CHUNK_BYTES = 64 * 1024,
    /* Real layers reach 20; gzip can do 1000, and more in a row of filters. */
    MAX_RATIO = 200,
};

typedef struct archive Archive;

static void
reader_free(Archive *archive)
{
    if (archive)
        archive_read_free(archive);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Archive, reader_free)

void
sl_tar_stream_clear(SlTarStream *stream)
{
    reader_free(stream->outer);
    sl_digester_free(stream->digester);
    g_free(stream->raw);
    g_free(stream->plain);
    g_clear_error(&stream->error);
    *stream = (SlTarStream){ .source.fd = -1 };
}

static bool
source_read(SlTarStream *stream, size_t *ret_n)
{
    ssize_t n;

    if (stream->source.read)
        return stream->source.read(stream->source.user, stream->raw, CHUNK_BYTES, ret_n, &stream->error);
    do {
        if (!stream->is_file &&
            !sl_cancel_wait_fd(stream->cancel, stream->source.fd, POLLIN, -1, &stream->error))
            return false;
        n = read(stream->source.fd, stream->raw, CHUNK_BYTES);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n < 0)
        return sl_fail_errno(&stream->error, errno, "reading an archive");
    *ret_n = (size_t)n;
    return true;
}

static la_ssize_t
raw_read(Archive *archive, void *data, const void **ret_block)
{
    SlTarStream *stream = data;
    size_t n = 0;

    if (!source_read(stream, &n))
        return -1;
    stream->n_raw += (int64_t)n;
    if (stream->progress)
        stream->progress(stream->progress_user, stream->n_raw);
    *ret_block = stream->raw;
    return (la_ssize_t)n;
}

static bool
plain_count(SlTarStream *stream, int64_t n)
{
    if (n > stream->budget->bytes_left)
        return sl_fail(&stream->error, SL_ERROR_TOO_LARGE,
                       "archive is too large: it goes over the limit when unpacked");
    stream->budget->bytes_left -= n;
    stream->n_plain += n;
    if (stream->n_plain > stream->budget->free_bytes && stream->n_plain / MAX_RATIO > stream->n_raw)
        return sl_fail(&stream->error, SL_ERROR_TOO_LARGE,
                       "archive is too large: it unpacks to more than %d times its size", MAX_RATIO);
    return true;
}

/* The next piece of the uncompressed tar; 0 at its end, -1 with stream->error. */
static la_ssize_t
plain_next(SlTarStream *stream)
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
    if (!plain_count(stream, n))
        return -1;
    sl_digester_update(stream->digester, stream->plain, (size_t)n);
    return n;
}

static la_ssize_t
plain_read(Archive *archive, void *data, const void **ret_block)
{
    SlTarStream *stream = data;

    *ret_block = stream->plain;
    return plain_next(stream);
}

static bool
filters_add(Archive *archive, SlUnpackFilters filters, GError **error)
{
    /* Filters are named one by one: libarchive would run programs for those that it has not built in, and
     * ARCHIVE_WARN would mean just that. */
    bool ok = archive_read_support_filter_gzip(archive) == ARCHIVE_OK &&
              archive_read_support_filter_zstd(archive) == ARCHIVE_OK;

    if (ok && filters == SL_UNPACK_ARCHIVE)
        ok = archive_read_support_filter_xz(archive) == ARCHIVE_OK &&
             archive_read_support_filter_bzip2(archive) == ARCHIVE_OK;
    if (!ok)
        return sl_fail(error, SL_ERROR_UNSUPPORTED, "libarchive was built without gzip, zstd, xz or bzip2");
    return true;
}

/* An error of the layers below says more than libarchive's own sentence. */
static bool
stream_fail(SlTarStream *stream, Archive *archive, GError **error)
{
    if (stream->error) {
        g_propagate_error(error, g_steal_pointer(&stream->error));
        return false;
    }
    return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s", archive_error_string(archive));
}

/* Two readers in a row: the outer one only decompresses, so that the uncompressed tar can be counted and its digest
 * taken before the inner one parses it. */
bool
sl_tar_stream_open(SlTarStream *stream, const SlTarSource *source, SlUnpackFilters filters,
                   SlUnpackBudget *budget, SlCancel *cancel, GError **error)
{
    struct archive_entry *ignored;
    struct stat status;
    int result;

    *stream = (SlTarStream){ .source = *source, .budget = budget, .cancel = cancel };
    stream->is_file = !source->read && fstat(source->fd, &status) == 0 && S_ISREG(status.st_mode);
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
    return result >= ARCHIVE_WARN || stream_fail(stream, stream->outer, error);
}

static bool
rest_read(SlTarStream *stream, GError **error)
{
    la_ssize_t n;

    while ((n = plain_next(stream)) > 0)
        continue;
    if (n < 0)
        g_propagate_error(error, g_steal_pointer(&stream->error));
    return n == 0;
}

bool
sl_tar_stream_each(SlTarStream *stream,
                   bool (*each)(void *user, struct archive *archive, struct archive_entry *entry,
                                GError **error),
                   void *user, GError **error)
{
    g_autoptr(Archive) inner = archive_read_new();
    struct archive_entry *entry;
    int result;

    archive_read_support_format_tar(inner);
    archive_read_support_format_empty(inner);
    if (archive_read_open(inner, stream, NULL, plain_read, NULL) != ARCHIVE_OK)
        return stream_fail(stream, inner, error);

    while ((result = archive_read_next_header(inner, &entry)) != ARCHIVE_EOF) {
        g_autoptr(GError) local = NULL;

        if (result < ARCHIVE_WARN || stream->error)
            return stream_fail(stream, inner, error);
        if (--stream->budget->files_left < 0)
            return sl_fail(error, SL_ERROR_TOO_LARGE, "archive is too large: too many files");
        if (each(user, inner, entry, &local))
            continue;
        if (stream->error)
            return stream_fail(stream, inner, error);
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    return rest_read(stream, error);
}

bool
sl_tar_stream_copy(SlTarStream *stream, bool (*sink)(void *user, const void *data, size_t n, GError **error),
                   void *user, GError **error)
{
    la_ssize_t n;

    while ((n = plain_next(stream)) > 0)
        if (!sink(user, stream->plain, (size_t)n, error))
            return false;
    if (n < 0)
        g_propagate_error(error, g_steal_pointer(&stream->error));
    return n == 0;
}

char *
sl_tar_stream_digest(SlTarStream *stream)
{
    return sl_digester_finish(stream->digester);
}
