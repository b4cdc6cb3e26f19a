/* The table of create options (DESIGN §1.5), held against a request's body before anything exists. */
#pragma once

#include "backends/core/driver.h"

/*
 * An option's name is a JSON path, "HostConfig.Privileged": it matches any value but null, false, 0, "", [] and {}. "PATH=a|b" matches these values, "PATH!=a|b" any given value but these.
 * Refused ones: SL_ERROR_UNSUPPORTED, in a sentence with option, backend and advice. Those without effect add a sentence to warnings (a JSON list).
 */
bool sl_options_check(const SlDriver *driver, const json_t *body, json_t *warnings, GError **error);

/* Neither null, false, zero nor empty. */
bool sl_option_is_given(const json_t *value);
