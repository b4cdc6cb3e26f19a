#include "common/clock.h"

#define SECOND INT64_C(1000000000)

static void
test_go_drops_trailing_zeros(void)
{
    g_autofree char *zero = sl_clock_format(0);
    g_autofree char *whole = sl_clock_format(1704164645 * SECOND);
    g_autofree char *tenth = sl_clock_format(1704164645 * SECOND + 100000000);
    g_autofree char *nano = sl_clock_format(1704164645 * SECOND + 6);

    g_assert_cmpstr(zero, ==, "0001-01-01T00:00:00Z");
    g_assert_cmpstr(whole, ==, "2024-01-02T03:04:05Z");
    g_assert_cmpstr(tenth, ==, "2024-01-02T03:04:05.1Z");
    g_assert_cmpstr(nano, ==, "2024-01-02T03:04:05.000000006Z");
}

static void
test_log_times_have_one_width(void)
{
    char text[SL_CLOCK_LOG_CHARS + 1];

    sl_clock_format_log(1704164645 * SECOND, text);
    g_assert_cmpstr(text, ==, "2024-01-02T03:04:05.000000000Z");
}

static void
test_durations_are_in_dockers_words(void)
{
    static const struct {
        int64_t seconds;
        const char *words;
    } rows[] = {
        { 0, "Less than a second" }, { 1, "1 second" },          { 59, "59 seconds" },
        { 60, "About a minute" },    { 119, "About a minute" },  { 120, "2 minutes" },
        { 3599, "59 minutes" },      { 3600, "About an hour" },  { 7200, "2 hours" },
        { 47 * 3600, "47 hours" },   { 48 * 3600, "2 days" },    { 14 * 86400, "2 weeks" },
        { 60 * 86400, "2 months" },  { 730 * 86400, "2 years" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *words = sl_clock_duration_words(rows[i].seconds * SECOND);

        g_assert_cmpstr(words, ==, rows[i].words);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/common/clock/go-drops-trailing-zeros", test_go_drops_trailing_zeros);
    g_test_add_func("/common/clock/log-times-have-one-width", test_log_times_have_one_width);
    g_test_add_func("/common/clock/durations-are-in-dockers-words", test_durations_are_in_dockers_words);
    return g_test_run();
}
