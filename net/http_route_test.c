#include "net/http_internal.h"

#include <string.h>

static bool
never(SlCall *call, GError **error)
{
    g_assert_not_reached();
}

static const SlRoute routes[] = {
    { "GET", "/", never, 0 },
    { "GET", "/containers/json", never, 0 },
    { "GET", "/containers/{id}/json", never, 0 },
    { "*", "/containers/{id}", never, 0 },
    { "GET", "/images/{name...}/json", never, 0 },
    { "GET", "/images/{name...}/history/{n}", never, 0 },
    { "DELETE", "/images/{name...}", never, 0 },
    { "POST", "*", never, 0 },
    { 0 },
};

static void
test_routes(void)
{
    static const struct {
        const char *method, *path;
        int route; /* index; -1: none */
        const char *params;
    } cases[] = {
        { "GET", "/", 0, "" },
        { "GET", "/containers/json", 1, "" },
        { "GET", "/containers/abc/json", 2, "id=abc " },
        { "GET", "/containers/abc", 3, "id=abc " },
        { "DELETE", "/containers/json", 3, "id=json " },
        { "GET", "/containers//json", -1, "" },
        { "GET", "/containers/abc/", -1, "" },
        { "GET", "/containers/abc/json/x", -1, "" },
        { "GET", "/containersx/abc", -1, "" },
        { "GET", "/images/alpine/json", 4, "name=alpine " },
        { "GET", "/images/a/b/c:1/json", 4, "name=a/b/c:1 " },
        { "GET", "/images/json/json/json", 4, "name=json/json " },
        { "GET", "/images/json", -1, "" },
        { "GET", "/images//json", -1, "" },
        { "GET", "/images/a/history/history/7", 5, "name=a/history n=7 " },
        { "DELETE", "/images/a/b", 6, "name=a/b " },
        { "DELETE", "/images/", -1, "" },
        { "HEAD", "/", -1, "" },
        { "POST", "/anything/at/all", 7, "" },
        { "GET", "", -1, "" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        SlPathMatch match;
        const SlRoute *route = sl_route_find(routes, cases[i].method, cases[i].path, &match);
        g_autoptr(GString) params = g_string_new(NULL);

        if ((route ? (int)(route - routes) : -1) != cases[i].route)
            g_error("%s %s: wrong route", cases[i].method, cases[i].path);
        for (size_t j = 0; route && j < match.n_params; j++)
            g_string_append_printf(params, "%.*s=%.*s ", (int)match.params[j].n_name, match.params[j].name,
                                   (int)match.params[j].n, cases[i].path + match.params[j].at);
        g_assert_cmpstr(params->str, ==, cases[i].params);
    }
}

static void
test_decoding(void)
{
    static const struct {
        const char *text, *plain, *form; /* NULL: refused */
    } cases[] = {
        { "a%20b+c", "a b+c", "a b c" },
        { "%c3%A9", "\xc3\xa9", "\xc3\xa9" },
        { "%2f%2E", "/.", "/." },
        { "%", NULL, NULL },
        { "%4", NULL, NULL },
        { "%zz", NULL, NULL },
        { "a%00", NULL, NULL },
        { "", "", "" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GString) plain = g_string_new(NULL);
        g_autoptr(GString) form = g_string_new(NULL);

        g_assert_true(sl_url_decode(cases[i].text, strlen(cases[i].text), false, plain) ==
                      (cases[i].plain != NULL));
        g_assert_true(sl_url_decode(cases[i].text, strlen(cases[i].text), true, form) ==
                      (cases[i].form != NULL));
        if (cases[i].plain) {
            g_assert_cmpstr(plain->str, ==, cases[i].plain);
            g_assert_cmpstr(form->str, ==, cases[i].form);
        }
    }
}

static void
test_a_long_path_is_matched_in_time(void)
{
    g_autoptr(GString) path = g_string_new("/images");
    SlPathMatch match;

    for (int i = 0; i < 30000; i++)
        g_string_append(path, "/a");
    g_assert_null(sl_route_find(routes, "GET", path->str, &match));
}

static void
test_hosts(void)
{
    static const char *const good[] = { "localhost", "LOCALHOST:1",  "127.0.0.1",     "10.1.2.3:2375",
                                        "[::1]",     "[fe80::1]:80", "build.lan:2375" };
    static const char *const bad[] = {
        "", "evil.example", "localhost.evil.example", "127.0.0.1.evil", "[::1", "[evil]:80", "xbuild.lan"
    };
    char name[] = "build.lan";
    char *allowed[] = { name, NULL };

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
        g_assert_true(sl_host_is_allowed(good[i], allowed));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(sl_host_is_allowed(bad[i], allowed));
    g_assert_false(sl_host_is_allowed("build.lan", NULL));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net/routes-match-whole-segments", test_routes);
    g_test_add_func("/net/routes-match-a-long-path-in-time", test_a_long_path_is_matched_in_time);
    g_test_add_func("/net/urls-are-decoded", test_decoding);
    g_test_add_func("/net/hosts-are-local-or-allowed", test_hosts);
    return g_test_run();
}
