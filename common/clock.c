#include "common/clock.h"

#include <time.h>

#define NS_PER_S INT64_C(1000000000)

static int64_t
read_clock(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t
sl_clock_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t
sl_clock_monotonic_ms(void)
{
    return read_clock(CLOCK_MONOTONIC) / 1000000;
}

int64_t
sl_clock_now_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

void
sl_clock_format_log(int64_t ns, char ret_text[SL_CLOCK_LOG_CHARS + 1])
{
    time_t seconds = (time_t)(ns / NS_PER_S);
    struct tm parts;
    size_t n;

    gmtime_r(&seconds, &parts);
    n = strftime(ret_text, SL_CLOCK_LOG_CHARS + 1, "%Y-%m-%dT%H:%M:%S", &parts);
    ret_text[n++] = '.';
    for (int64_t rest = ns % NS_PER_S, unit = NS_PER_S / 10; unit > 0; rest %= unit, unit /= 10)
        ret_text[n++] = (char)('0' + rest / unit);
    ret_text[n++] = 'Z';
    ret_text[n] = '\0';
}

char *
sl_clock_format(int64_t ns)
{
    char text[SL_CLOCK_LOG_CHARS + 1];
    size_t end = SL_CLOCK_LOG_CHARS - 1; /* of the digits, before the Z */

    if (ns == 0)
        return g_strdup("0001-01-01T00:00:00Z");
    sl_clock_format_log(ns, text);
    while (text[end - 1] == '0')
        end--;
    if (text[end - 1] == '.')
        end--;
    return g_strdup_printf("%.*sZ", (int)end, text);
}

char *
sl_clock_duration_words(int64_t duration_ns)
{
    int64_t seconds = MAX(0, duration_ns) / NS_PER_S, minutes = seconds / 60, hours = (minutes + 30) / 60;

    if (seconds < 1)
        return g_strdup("Less than a second");
    if (seconds == 1)
        return g_strdup("1 second");
    if (seconds < 60)
        return g_strdup_printf("%d seconds", (int)seconds);
    if (minutes == 1)
        return g_strdup("About a minute");
    if (minutes < 60)
        return g_strdup_printf("%d minutes", (int)minutes);
    if (hours == 1)
        return g_strdup("About an hour");
    if (hours < 48)
        return g_strdup_printf("%d hours", (int)hours);
    if (hours < 24 * 7 * 2)
        return g_strdup_printf("%d days", (int)(hours / 24));
    if (hours < 24 * 30 * 2)
        return g_strdup_printf("%d weeks", (int)(hours / 24 / 7));
    if (hours < 24 * 365 * 2)
        return g_strdup_printf("%d months", (int)(hours / 24 / 30));
    return g_strdup_printf("%d years", (int)(hours / 24 / 365));
}
