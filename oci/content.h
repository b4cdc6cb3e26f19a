/*
 * The content store: blobs by digest on disk (blobs/sha256/HEX), written to a temporary file, verified while
 * streaming, fsynced and renamed. A blob that is there is whole. Any thread.
 */
#pragma once

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct SlContent SlContent;
typedef struct SlBlobWriter SlBlobWriter;

/* Makes folder when missing; removes temporary files that a killed process left. */
SlContent *sl_content_open(const char *folder, GError **error);
void sl_content_close(SlContent *content);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlContent, sl_content_close)
const char *sl_content_folder(SlContent *content);

bool sl_content_has(SlContent *content, const char *digest);
/* Opened for reading; -1 with SL_ERROR_NOT_FOUND. */
int sl_content_open_blob(SlContent *content, const char *digest, GError **error);
/* Small blobs (manifests, configs): whole, NUL-ended, its digest checked again. Above max:
 * SL_ERROR_TOO_LARGE. */
bool sl_content_read(SlContent *content, const char *digest, size_t max, char **ret_data, size_t *ret_n,
                     GError **error);
/* Success when it is not there. */
bool sl_content_remove(SlContent *content, const char *digest, GError **error);

/* Removes every blob that is_needed knows not. Nobody may be counting on one of those. */
bool sl_content_sweep(SlContent *content, bool (*is_needed)(void *user, const char *digest), void *user,
                      GError **error);

SlBlobWriter *sl_blob_writer_new(SlContent *content, GError **error);
bool sl_blob_writer_write(SlBlobWriter *writer, const void *data, size_t n, GError **error);
/* expected_digest NULL: whatever it is; expected_size -1: any. A mismatch is SL_ERROR_SYSTEM and stores
 * nothing. ret_digest may be NULL; caller frees. */
bool sl_blob_writer_commit(SlBlobWriter *writer, const char *expected_digest, int64_t expected_size,
                           char **ret_digest, GError **error);
/* Drops what was not committed. */
void sl_blob_writer_free(SlBlobWriter *writer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlBlobWriter, sl_blob_writer_free)
/* One call for small blobs. */
bool sl_content_put(SlContent *content, const void *data, size_t n, char **ret_digest, GError **error);

/* "sha256:HEX" of a block; caller frees. */
char *sl_digest_of(const void *data, size_t n);
