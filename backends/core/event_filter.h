/* Which events a reader of GET /events wants. Pure. */
#pragma once

#include "api/filters.h"

#include <jansson.h>

/* Keys that GET /events knows, NULL-ended. */
extern const char *const sl_event_filter_keys[];

/* event: as GET /events sends it. */
bool sl_event_matches(const DkFilters *filters, const json_t *event);
