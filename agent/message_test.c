#include "agent/message.h"

#include <string.h>

static bool
parse(const char *text, SlRequest *request, GError **error)
{
    return sl_request_parse((const uint8_t *)text, strlen(text), request, error);
}

static void
test_start(void)
{
    g_auto(SlRequest) request = { 0 };
    g_autoptr(GError) error = NULL;

    parse("{\"type\":\"start\",\"id\":9007199254740992,\"argv\":[\"sh\",\"-c\",\"true\"],\"env\":[\"A=b=c\"],"
          "\"cwd\":\"/x\","
          "\"user\":\"1:2\",\"hostname\":\"h\",\"tty\":true,\"open_stdin\":true,\"rows\":24,\"cols\":80,"
          "\"rlimits\":[\"nofile=1024:2048\"],\"runtime\":[\"/bin/runtime\"],"
          "\"root\":{\"kind\":\"overlay\",\"lower\":\"a:b\",\"upper\":\"u\",\"work\":\"w\"}}",
          &request, &error);
    g_assert_no_error(error);
    g_assert_cmpint(request.type, ==, SL_REQUEST_START);
    g_assert_cmpint(request.id, ==, INT64_C(1) << 53);
    g_assert_cmpuint(g_strv_length(request.argv), ==, 3);
    g_assert_true(request.has_tty && request.has_stdin);
    g_assert_cmpint(request.rows, ==, 24);
    g_assert_cmpstr(request.root.lower[0], ==, "a:b");
    g_assert_cmpstr(request.rlimits[0], ==, "nofile=1024:2048");
}

#define START                                                                                                \
    "\"type\":\"start\",\"id\":5,\"argv\":[\"a\"],\"runtime\":[\"/r\"],\"root\":{\"kind\":\"folder\"}"

static void
test_refused(void)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "{\"type\":\"start\",\"id\":5}", "runtime" },
        { "{" START ",\"runtime\":[\"r\"]}", "absolute" },
        { "{" START ",\"argv\":[]}", "no command" },
        { "{" START ",\"argv\":null,\"argv\":\"x\"}", "argv must be a list" },
        { "{" START ",\"env\":[\"novalue\"]}", "environment" },
        { "{" START ",\"env\":[\"=x\"]}", "environment" },
        { "{" START ",\"cwd\":\"relative\"}", "absolute path" },
        { "{" START ",\"rlimits\":[\"nofile\"]}", "rlimit" },
        { "{" START ",\"rlimits\":[\"--tty=1:1\"]}", "rlimit" },
        { "{" START ",\"rows\":70000}", "terminal size" },
        { "{" START ",\"channel\":1}", "channel" },
        { "{\"type\":\"exec\",\"id\":5,\"channel\":0,\"exec_id\":\"e\",\"argv\":[\"a\"]}", "channel" },
        { "{\"type\":\"exec\",\"id\":5,\"channel\":4294967296,\"exec_id\":\"e\",\"argv\":[\"a\"]}",
          "channel" },
        { "{\"type\":\"exec\",\"id\":5,\"channel\":1,\"argv\":[\"a\"]}", "exec_id" },
        { "{\"type\":\"signal\",\"id\":5,\"signal\":65}", "signal" },
        { "{\"type\":\"signal\",\"id\":5,\"signal\":-1}", "signal" },
        { "{\"type\":\"dance\",\"id\":5}", "unknown message type dance" },
        { "{\"type\":5,\"id\":5}", "type must be a string" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(SlRequest) request = { 0 };
        g_autoptr(GError) error = NULL;

        g_test_message("%s", cases[i].text);
        g_assert_false(parse(cases[i].text, &request, &error));
        g_assert_nonnull(strstr(error->message, cases[i].message));
        g_assert_cmpint(request.type, ==, 0);
        g_assert_cmpint(request.id, ==, 5); /* so that the answer finds its request */
    }
}

static void
test_without_id(void)
{
    static const char *const texts[] = { "",     "[]",
                                         "null", "{\"type\":\"top\"}",
                                         "{",    "{\"type\":\"top\",\"id\":0}",
                                         "{}",   "{\"type\":\"top\",\"id\":9007199254740993}" };

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_auto(SlRequest) request = { 0 };
        g_autoptr(GError) error = NULL;

        g_test_message("%s", texts[i]);
        g_assert_false(parse(texts[i], &request, &error));
        g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    }
}

static void
test_shutdown_needs_no_id(void)
{
    g_auto(SlRequest) request = { 0 };

    g_assert_true(parse("{\"type\":\"shutdown\"}", &request, NULL));
    g_assert_cmpint(request.type, ==, SL_REQUEST_SHUTDOWN);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/agent/start-is-read-whole", test_start);
    g_test_add_func("/agent/a-wrong-request-is-refused-and-keeps-its-id", test_refused);
    g_test_add_func("/agent/a-request-without-an-id-is-refused", test_without_id);
    g_test_add_func("/agent/shutdown-needs-no-id", test_shutdown_needs_no_id);
    return g_test_run();
}
