#include "agent/input.h"

#include "agent/protocol.h"
#include "common/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>

typedef struct Fixture {
    SlPoller *poller;
    SlInput input;
    int process_end;
    uint64_t granted; /* the last told */
} Fixture;

static void
on_grant(void *user, uint64_t up_to)
{
    Fixture *fixture = user;

    fixture->granted = up_to;
}

static void
set_up(Fixture *fixture, gconstpointer is_terminal)
{
    int ends[2];

    signal(SIGPIPE, SIG_IGN);
    g_assert_cmpint(pipe2(ends, O_CLOEXEC | O_NONBLOCK), ==, 0);
    fixture->poller = sl_poller_new();
    fixture->process_end = ends[0];
    fixture->granted = SL_AGENT_WINDOW;
    sl_input_begin(&fixture->input, fixture->poller, ends[1], is_terminal != NULL, on_grant, fixture);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    sl_input_close(&fixture->input);
    sl_poller_free(fixture->poller);
    sl_fd_clear(&fixture->process_end);
}

static bool
put(Fixture *fixture, uint64_t offset, const char *text)
{
    return sl_input_data(&fixture->input, offset, (const uint8_t *)text, strlen(text));
}

static void
assert_reads(Fixture *fixture, const char *wanted)
{
    char text[256];
    ssize_t n = read(fixture->process_end, text, sizeof text);

    g_assert_cmpmem(text, (size_t)MAX(n, 0), wanted, strlen(wanted));
}

static void
test_resends(Fixture *fixture, gconstpointer data)
{
    g_assert_true(put(fixture, 0, "abc"));
    g_assert_true(put(fixture, 0, "abc"));
    g_assert_true(put(fixture, 1, "bcdef"));
    assert_reads(fixture, "abcdef");
    g_assert_cmpuint(fixture->input.received, ==, 6);
}

static void
test_gap(Fixture *fixture, gconstpointer data)
{
    g_assert_true(put(fixture, 0, "abc"));
    g_assert_false(put(fixture, 4, "e"));
    g_assert_false(put(fixture, UINT64_MAX, "e"));
}

/* Fills pipe and window, then lets the process read. */
static void
test_window(Fixture *fixture, gconstpointer data)
{
    g_autofree uint8_t *block = g_malloc0(SL_AGENT_WINDOW);
    size_t n_read = 0;
    ssize_t n;

    g_assert_true(sl_input_data(&fixture->input, 0, block, SL_AGENT_WINDOW));
    g_assert_cmpuint(fixture->granted, <, SL_AGENT_WINDOW + SL_AGENT_WINDOW / 2);
    g_assert_false(sl_input_data(&fixture->input, fixture->granted, block, 1));
    while (n_read < SL_AGENT_WINDOW) {
        n = read(fixture->process_end, block, SL_AGENT_WINDOW);
        if (n > 0)
            n_read += (size_t)n;
        if (n_read < SL_AGENT_WINDOW)
            sl_poller_turn(fixture->poller);
    }
    g_assert_cmpuint(n_read, ==, SL_AGENT_WINDOW);
    g_assert_cmpuint(fixture->granted, ==, 2 * SL_AGENT_WINDOW);
}

static void
test_closed_by_the_process(Fixture *fixture, gconstpointer data)
{
    g_autofree uint8_t *block = g_malloc0(SL_AGENT_WINDOW);

    sl_fd_clear(&fixture->process_end);
    for (uint64_t at = 0; at < 10 * SL_AGENT_WINDOW; at += SL_AGENT_WINDOW)
        g_assert_true(sl_input_data(&fixture->input, at, block, SL_AGENT_WINDOW));
    g_assert_cmpuint(fixture->granted, ==, 11 * SL_AGENT_WINDOW);
}

static void
test_end(Fixture *fixture, gconstpointer data)
{
    g_assert_true(put(fixture, 0, "last"));
    sl_input_end(&fixture->input);
    sl_input_end(&fixture->input);
    assert_reads(fixture, "last");
    assert_reads(fixture, ""); /* its end, not "nothing yet": */
    g_assert_cmpint(read(fixture->process_end, &(char){ 0 }, 1), ==, 0);
    g_assert_true(put(fixture, 0, "last"));
    g_assert_false(put(fixture, 4, "more"));
}

static void
test_terminal_end(Fixture *fixture, gconstpointer data)
{
    sl_input_end(&fixture->input);
    g_assert_cmpint(read(fixture->process_end, &(char){ 0 }, 1), ==, -1);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/agent/stdin-sent-again-is-taken-once", Fixture, NULL, set_up, test_resends, tear_down);
    g_test_add("/agent/a-gap-in-stdin-is-refused", Fixture, NULL, set_up, test_gap, tear_down);
    g_test_add("/agent/stdin-is-held-to-its-window", Fixture, NULL, set_up, test_window, tear_down);
    g_test_add("/agent/stdin-nobody-reads-is-dropped-and-granted", Fixture, NULL, set_up,
               test_closed_by_the_process, tear_down);
    g_test_add("/agent/the-end-of-stdin-closes-it", Fixture, NULL, set_up, test_end, tear_down);
    g_test_add("/agent/the-end-of-stdin-leaves-a-terminal-open", Fixture, "tty", set_up, test_terminal_end,
               tear_down);
    return g_test_run();
}
