#include "backends/core/channel.h"

#include "backends/core/fake_agent.h"

#include <string.h>

enum { NUMBER = 7, HALF_FULL = 200 * 1024 };

/* A channel on a running container's link; everything on it is done on the loop. */
typedef struct Fixture {
    FakeCore *fake;
    SlContainer *container;
    SlLink *link;
    SlChannel *channel;
} Fixture;

static void
set_up(Fixture *fixture, gconstpointer data)
{
    fixture->fake = fake_core_new();
    fixture->container = fake_container_new(fixture->fake, NULL);
    g_assert_true(fake_container_start(fixture->container));
    fixture->link = sl_container_dup_link(fixture->container, NULL);
    fixture->channel = sl_channel_new(fixture->link, NUMBER);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    sl_channel_unref(fixture->channel);
    sl_link_unref(fixture->link);
    sl_container_unref(fixture->container);
    fake_core_free(fixture->fake);
}

typedef struct Turn {
    void (*run)(Fixture *fixture);
    Fixture *fixture;
    SlCancel *done;
} Turn;

static void
take_turn(void *data)
{
    Turn *turn = data;
    g_autoptr(SlCancel) done = turn->done; /* turn goes with whoever waits for it */

    turn->run(turn->fixture);
    sl_cancel_fire(done);
}

static void
on_loop(Fixture *fixture, void (*run)(Fixture *))
{
    g_autoptr(SlCancel) done = sl_cancel_new();
    Turn turn = { run, fixture, sl_cancel_ref(done) };

    sl_loop_post(fixture->fake->core->loop, take_turn, &turn);
    sl_cancel_wait_fd(done, -1, 0, 10000, NULL);
    g_assert_true(sl_cancel_is_fired(done));
}

/* ---- input ---- */

static void
push_over_the_window(Fixture *fixture)
{
    g_autofree char *data = g_strnfill(SL_AGENT_WINDOW + 10, 'x');

    g_assert_cmpuint(sl_channel_push(fixture->channel, data, SL_AGENT_WINDOW + 10), ==, SL_AGENT_WINDOW);
    g_assert_cmpuint(sl_channel_room(fixture->channel), ==, 0);
    g_assert_cmpuint(sl_channel_push(fixture->channel, "y", 1), ==, 0);
    sl_channel_granted(fixture->channel, SL_AGENT_WINDOW + 10);
    sl_channel_granted(fixture->channel, 5); /* an old word changes nothing */
    g_assert_cmpuint(sl_channel_room(fixture->channel), ==, 10);
    g_assert_cmpuint(sl_channel_push(fixture->channel, "0123456789more", 14), ==, 10);
}

static void
test_input_goes_as_far_as_the_agent_said(Fixture *fixture, gconstpointer data)
{
    on_loop(fixture, push_over_the_window);
    fake_agent_expect(fixture->fake->agent, "data 7 262144 0123456789");
}

static void
push_resumed(Fixture *fixture)
{
    sl_channel_resume(fixture->channel, 100);
    g_assert_cmpuint(sl_channel_push(fixture->channel, "abc", 3), ==, 0);
    sl_channel_granted(fixture->channel, 103);
    g_assert_cmpuint(sl_channel_push(fixture->channel, "abc", 3), ==, 3);
}

static void
test_input_goes_on_at_its_offset(Fixture *fixture, gconstpointer data)
{
    on_loop(fixture, push_resumed);
    fake_agent_expect(fixture->fake->agent, "data 7 100 abc");
}

static void
push_and_end(Fixture *fixture)
{
    sl_channel_push(fixture->channel, "hello", 5);
    sl_channel_push_eof(fixture->channel);
    sl_channel_push_eof(fixture->channel);
    g_assert_cmpuint(sl_channel_push(fixture->channel, "late", 4), ==, 4);
    g_assert_cmpuint(sl_channel_room(fixture->channel), ==, SIZE_MAX);
}

static void
test_an_end_is_told_once_and_nothing_after_it(Fixture *fixture, gconstpointer data)
{
    on_loop(fixture, push_and_end);
    fake_agent_expect(fixture->fake->agent, "data 7 0 hello");
    fake_agent_expect(fixture->fake->agent, "end 7 5");
    g_assert_true(
        sl_link_request(fixture->link, json_pack("{s:s}", "type", "top"), NULL, 10000, NULL, NULL, NULL));
    g_assert_false(fake_agent_heard(fixture->fake->agent, "end 7 5"));
    g_assert_false(fake_agent_heard(fixture->fake->agent, "data 7 5 late"));
}

/* ---- output ---- */

static void
receive(Fixture *fixture, uint64_t offset, const char *text)
{
    sl_channel_receive(fixture->channel, offset, (const uint8_t *)text, strlen(text));
}

static void
assert_piece(Fixture *fixture, const char *text)
{
    SlPiece piece;

    g_assert_cmpint(sl_channel_pull(fixture->channel, &piece), ==, SL_PULL_PIECE);
    g_assert_cmpmem(piece.data, piece.n, text, strlen(text));
}

static void
receive_and_pull(Fixture *fixture)
{
    SlPiece piece;

    g_assert_cmpint(sl_channel_pull(fixture->channel, &piece), ==, SL_PULL_WAIT);
    receive(fixture, 0, "abc");
    receive(fixture, 0, "abc"); /* sent again by an agent that resumed */
    receive(fixture, 3, "d");
    assert_piece(fixture, "abc");
    assert_piece(fixture, "d");
    g_assert_cmpint(sl_channel_pull(fixture->channel, &piece), ==, SL_PULL_WAIT);
    receive(fixture, 4, "last");
    sl_channel_over(fixture->channel);
    assert_piece(fixture, "last");
    g_assert_cmpint(sl_channel_pull(fixture->channel, &piece), ==, SL_PULL_END);
}

static void
test_output_comes_in_order_once_and_before_its_end(Fixture *fixture, gconstpointer data)
{
    on_loop(fixture, receive_and_pull);
}

static void
receive_much(Fixture *fixture)
{
    g_autofree char *much = g_strnfill(HALF_FULL, 'x');

    receive(fixture, 0, much);
}

static void
pull_much(Fixture *fixture)
{
    SlPiece piece;

    g_assert_cmpint(sl_channel_pull(fixture->channel, &piece), ==, SL_PULL_PIECE);
    g_assert_cmpuint(piece.n, ==, HALF_FULL);
    g_assert_cmpint(sl_channel_pull(fixture->channel, &piece), ==, SL_PULL_WAIT);
}

static void
test_the_window_moves_with_the_reader(Fixture *fixture, gconstpointer data)
{
    on_loop(fixture, receive_much);
    g_assert_true(
        sl_link_request(fixture->link, json_pack("{s:s}", "type", "top"), NULL, 10000, NULL, NULL, NULL));
    g_assert_false(fake_agent_heard(fixture->fake->agent, "window 7 466944"));
    on_loop(fixture, pull_much);
    fake_agent_expect(fixture->fake->agent, "window 7 466944");
}

static void
drop_output(Fixture *fixture)
{
    SlPiece piece;

    sl_channel_set_feed(fixture->channel, NULL);
    receive_much(fixture);
    g_assert_cmpint(sl_channel_pull(fixture->channel, &piece), ==, SL_PULL_WAIT);
}

static void
test_without_a_reader_output_is_dropped_and_the_process_goes_on(Fixture *fixture, gconstpointer data)
{
    on_loop(fixture, drop_output);
    fake_agent_expect(fixture->fake->agent, "window 7 466944");
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(Fixture *, gconstpointer);
    } tests[] = {
        { "/core/channel/input-goes-as-far-as-the-agent-said", test_input_goes_as_far_as_the_agent_said },
        { "/core/channel/input-goes-on-at-its-offset", test_input_goes_on_at_its_offset },
        { "/core/channel/an-end-is-told-once-and-nothing-after-it",
          test_an_end_is_told_once_and_nothing_after_it },
        { "/core/channel/output-comes-in-order-once-and-before-its-end",
          test_output_comes_in_order_once_and_before_its_end },
        { "/core/channel/the-window-moves-with-the-reader", test_the_window_moves_with_the_reader },
        { "/core/channel/without-a-reader-output-is-dropped-and-the-process-goes-on",
          test_without_a_reader_output_is_dropped_and_the_process_goes_on },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].name, Fixture, NULL, set_up, tests[i].run, tear_down);
    return g_test_run();
}
