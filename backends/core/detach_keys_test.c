#include "backends/core/detach_keys.h"

/* The channel is a fake: what is pushed, as far as there is room. */
struct SlChannel {
    GString *pushed;
    size_t room;
};

size_t
sl_channel_push(SlChannel *channel, const void *data, size_t n)
{
    size_t taken = MIN(n, channel->room);

    g_string_append_len(channel->pushed, data, (gssize)taken);
    channel->room -= taken;
    return taken;
}

size_t
sl_channel_room(const SlChannel *channel)
{
    return channel->room;
}

/* Types text in steps of step bytes, each again until it was taken. Returns what reached the process. */
static char *
type(const char *keys_text, const char *text, size_t n, size_t step, bool *ret_detach)
{
    SlChannel channel = { g_string_new(NULL), 0 };
    SlDetachKeys keys;

    *ret_detach = false;
    g_assert_true(sl_detach_keys_parse(keys_text, &keys, NULL));
    for (size_t done = 0; done < n && !*ret_detach;) {
        channel.room = 3; /* less than a step: the rest comes again */
        done += sl_detach_keys_push(&keys, &channel, text + done, MIN(step, n - done), ret_detach);
    }
    return g_string_free(channel.pushed, FALSE);
}

static void
test_the_keys_detach_and_are_kept_back(void)
{
    for (size_t step = 1; step <= 8; step++) {
        bool is_detached;
        g_autofree char *reached = type(NULL, "ls\n\x10\x11later", 10, step, &is_detached);

        g_assert_true(is_detached);
        g_assert_cmpstr(reached, ==, "ls\n");
    }
}

static void
test_half_a_sequence_reaches_the_process(void)
{
    for (size_t step = 1; step <= 8; step++) {
        bool is_detached;
        g_autofree char *reached = type("ctrl-p,ctrl-q",
                                        "a\x10"
                                        "b\x10\x10"
                                        "c",
                                        6, step, &is_detached);

        g_assert_false(is_detached);
        g_assert_cmpstr(reached, ==,
                        "a\x10"
                        "b\x10\x10"
                        "c");
    }
}

static void
test_what_are_keys(void)
{
    SlDetachKeys keys;
    g_autoptr(GError) error = NULL;

    g_assert_true(sl_detach_keys_parse("ctrl-@,x,ctrl-_", &keys, NULL));
    g_assert_cmpmem(keys.bytes, keys.n, "\0x\x1f", 3);
    g_assert_false(sl_detach_keys_parse("ctrl-A", &keys, NULL));
    g_assert_false(sl_detach_keys_parse("a,,b", &keys, NULL));
    g_assert_false(sl_detach_keys_parse("ctrl-pp", &keys, &error));
    g_assert_cmpstr(error->message, ==, "Invalid detach keys (ctrl-pp) provided");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/core/detach-keys/detach-and-are-kept-back", test_the_keys_detach_and_are_kept_back);
    g_test_add_func("/core/detach-keys/half-a-sequence-reaches-the-process",
                    test_half_a_sequence_reaches_the_process);
    g_test_add_func("/core/detach-keys/what-are-keys", test_what_are_keys);
    return g_test_run();
}
