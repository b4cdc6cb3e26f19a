/* Images as Docker's documents. Inside backends/core/images*.c. */
#pragma once

#include "backends/core/images.h"

/* version: the client's, as 1000 * major + minor; some members depend on it. A new reference. */
json_t *sl_image_inspect_json(const SlImageRecord *record, int version);
json_t *sl_image_summary_json(const SlImageRecord *record, int version);
/* layers: of SlImageLayer *, whose files' sizes are shown. */
json_t *sl_image_history_json(const SlImageRecord *record, const GPtrArray *layers);
