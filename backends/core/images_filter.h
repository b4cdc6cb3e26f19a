/* GET /images/json and POST /images/prune: which images are meant. Inside backends/core/images*.c. */
#pragma once

#include "backends/core/images.h"

/* Images that filters (JSON, NULL: none) let through, newest first; of SlImageRecord *, their tags cut down
 * to those of a `reference` filter. Errors: SL_ERROR_INVALID. */
GPtrArray *sl_images_filter(SlImages *images, const char *filters, GError **error);

/* A point in time as Docker's clients write it: unix seconds, RFC 3339, or a duration before now ("10m",
 * "1h30m"). */
bool sl_images_time_parse(const char *text, int64_t now_ns, int64_t *ret_ns, GError **error);
