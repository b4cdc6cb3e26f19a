/* Time. Monotonic milliseconds for waits; wall-clock nanoseconds since 1970 for what users see. */
#pragma once

#include <glib.h>
#include <stdint.h>

int64_t sl_clock_monotonic_ms(void);
int64_t sl_clock_monotonic_ns(void);
int64_t sl_clock_now_ns(void);

/* RFC 3339 in UTC with nanoseconds as Go prints them: trailing zeros of the fraction dropped. 0 gives Docker's zero
 * time, "0001-01-01T00:00:00Z". Caller frees. */
char *sl_clock_format(int64_t ns);
/* The fixed-width form of `docker logs -t`: 2024-01-02T03:04:05.000000006Z. ret_text takes 30 characters and a NUL. */
enum { SL_CLOCK_LOG_CHARS = 30 };
void sl_clock_format_log(int64_t ns, char ret_text[SL_CLOCK_LOG_CHARS + 1]);
/* Docker's duration in words, as in "Up 3 seconds": "Less than a second", "2 hours", "About a minute". Caller frees. */
char *sl_clock_duration_words(int64_t duration_ns);
