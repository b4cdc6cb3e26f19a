/* One entry of an archive → the folder. Inside oci/. */
#pragma once

#include "oci/unpack_target.h"

struct archive;
struct archive_entry;

/* Makes what entry says, its content read from archive. ret_bytes: of content. Errors: SL_ERROR_INVALID (an
 * evil or broken archive), TOO_LARGE, SYSTEM. */
bool sl_unpack_entry(SlUnpackTarget *target, struct archive *archive, struct archive_entry *entry,
                     int64_t *ret_bytes, GError **error);
