/* Asks a program of ours for a sign of life again and again. The clock is the owner's: it looks from time to time whether an answer is overdue. */
#pragma once

#include "common/error.h"

#include <stdint.h>

typedef struct SlHealth SlHealth;

/* GET target at address, every interval_ms. */
SlHealth *sl_health_watch(const char *address, const char *target, int interval_ms, GError **error);
/* For how long a question has been open, counted from since_ms at the earliest (monotonic; when the program was started); 0: it answered, or refused to. One
 * that is overdue must be so at two looks: this process may itself have been stopped in between. */
int64_t sl_health_overdue_ms(SlHealth *health, int64_t since_ms, int limit_ms);
void sl_health_free(SlHealth *health);
