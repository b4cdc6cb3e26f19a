/*
 * A tar that may be compressed, as a stream: decoded in process, counted and digested, then read entry by entry or
 * handed on as it is. Inside oci/.
 */
#pragma once

#include "common/cancel.h"
#include "oci/digest.h"

#include <stddef.h>
#include <stdint.h>

struct archive;
struct archive_entry;

/* What one archive, or all layers of an image together, may use up. */
typedef struct SlUnpackBudget {
    int64_t bytes_left; /* of uncompressed tar, and of file content */
    int64_t files_left;
    int64_t free_bytes; /* of one stream, before its ratio is judged */
} SlUnpackBudget;

typedef enum SlUnpackFilters {
    SL_UNPACK_LAYER,   /* gzip and zstd: what layer media types know */
    SL_UNPACK_ARCHIVE, /* xz and bzip2 too: what users upload */
} SlUnpackFilters;

/* Where the bytes come from: fd, or read (ret_n 0 ends it) when it is set. */
typedef struct SlTarSource {
    int fd;
    bool (*read)(void *user, void *data, size_t n, size_t *ret_n, GError **error);
    void *user;
} SlTarSource;

typedef struct SlTarStream {
    SlTarSource source;
    bool is_file; /* never blocks, so poll is not needed */
    SlCancel *cancel;
    SlUnpackBudget *budget;
    SlDigester *digester;
    struct archive *outer;
    char *raw;   /* as it came */
    char *plain; /* decoded */
    bool is_empty;
    int64_t n_raw, n_plain; /* bytes so far */
    /* Told n_raw as it grows; may be NULL. */
    void (*progress)(void *user, int64_t n_raw);
    void *progress_user;
    GError *error; /* the first; libarchive has no way to carry it */
} SlTarStream;

/* Reads as far as the compression's magic. All pointers must stay. Errors: SL_ERROR_INVALID, the source's own. */
bool sl_tar_stream_open(SlTarStream *stream, const SlTarSource *source, SlUnpackFilters filters,
                        SlUnpackBudget *budget, SlCancel *cancel, GError **error);
void sl_tar_stream_clear(SlTarStream *stream);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SlTarStream, sl_tar_stream_clear)

/* Calls each for every entry, whose content it may read from archive, then reads what follows the tar's end: that
 * belongs to its digest. Errors: SL_ERROR_INVALID, TOO_LARGE, CANCELLED, those of each. */
bool sl_tar_stream_each(SlTarStream *stream,
                        bool (*each)(void *user, struct archive *archive, struct archive_entry *entry,
                                     GError **error),
                        void *user, GError **error);
/* The decoded bytes as they are, in pieces, to their end. Errors: as above, those of sink. */
bool sl_tar_stream_copy(SlTarStream *stream,
                        bool (*sink)(void *user, const void *data, size_t n, GError **error), void *user,
                        GError **error);
/* Of the decoded bytes, after one of the above. Caller frees. */
char *sl_tar_stream_digest(SlTarStream *stream);
