#include "backends/core/log_options.h"

#include <string.h>

static const SlLogDefaults none;

/* The limits of a driver with options as JSON, or the error's words. */
static char *
complete(const char *type, const char *options, const SlLogDefaults *defaults)
{
    g_auto(DkLogConfig)
        config = { .type = g_strdup(type), .config = options ? json_loads(options, 0, NULL) : NULL };
    g_autoptr(GError) error = NULL;
    SlLogKeeping keeping;

    if (!sl_log_config_complete(&config, defaults, NULL, &error)) {
        g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
        return g_strdup(error->message);
    }
    keeping = sl_log_config_keeping(&config);
    return g_strdup_printf("%s %" G_GINT64_FORMAT " x %" G_GINT64_FORMAT "%s", config.type, keeping.max_size,
                           keeping.max_files, keeping.is_readable ? "" : " unreadable");
}

static void
test_limits_by_dockers_grammar(void)
{
    static const struct {
        const char *type, *options, *expected;
    } cases[] = {
        { NULL, NULL, "json-file 0 x 1" },
        { "json-file", "{\"max-file\": \"3\"}", "json-file 0 x 3" },
        { "json-file", "{\"max-size\": \"10k\"}", "json-file 10000 x 1" },
        { "json-file", "{\"max-size\": \"1.5MB\", \"max-file\": \"2\"}", "json-file 1500000 x 2" },
        { "json-file", "{\"max-size\": \"1g\", \"mode\": \"non-blocking\", \"max-buffer-size\": \"4m\"}",
          "json-file 1000000000 x 1" },
        { "local", "{}", "local 20971520 x 5" },
        { "local", "{\"max-size\": \"0\", \"max-file\": \"2\"}", "local 0 x 2" },
        { "none", "{\"foo\": \"1\"}", "none 1048576 x 1 unreadable" },
        { "json-file", "{\"labels\": \"a\", \"env-regex\": \"^E\", \"tag\": \"{{.Name}}/{{.ID}}\"}",
          "json-file 0 x 1" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *got = complete(cases[i].type, cases[i].options, &none);

        g_assert_cmpstr(got, ==, cases[i].expected);
    }
}

static void
test_refusals_are_dockers(void)
{
    static const struct {
        const char *type, *options, *expected;
    } cases[] = {
        { "foo", NULL, "error looking up logging plugin foo: plugin \"foo\" not found" },
        { "json-file", "{\"foo\": \"1\"}", "unknown log opt 'foo' for json-file log driver" },
        { "local", "{\"tag\": \"x\"}", "unknown log opt 'tag' for log driver local" },
        { "json-file", "{\"mode\": \"bad\"}", "logger: logging mode not supported: bad" },
        { "json-file", "{\"max-buffer-size\": \"1m\"}",
          "logger: max-buffer-size option is only supported with 'mode=non-blocking'" },
        { "json-file", "{\"max-size\": \"xx\"}", "failed to initialize logging driver: invalid size: 'xx'" },
        { "json-file", "{\"max-size\": \"-1\"}", "failed to initialize logging driver: invalid size: '-1'" },
        { "json-file", "{\"max-size\": \"0x10\"}",
          "failed to initialize logging driver: invalid size: '0x10'" },
        { "json-file", "{\"max-size\": \"1e300\"}",
          "failed to initialize logging driver: invalid size: '1e300'" },
        { "json-file", "{\"max-size\": \"0\"}",
          "failed to initialize logging driver: max-size must be a positive number" },
        { "local", "{\"max-size\": \"zz\"}",
          "failed to initialize logging driver: invalid value for max-size: zz: invalid size: 'zz'" },
        { "json-file", "{\"max-file\": \"0\"}",
          "failed to initialize logging driver: max-file cannot be less than 1" },
        { "json-file", "{\"max-file\": \"x\"}",
          "failed to initialize logging driver: strconv.Atoi: parsing \"x\": invalid syntax" },
        { "json-file", "{\"max-size\": \"1k\", \"compress\": \"true\"}",
          "failed to initialize logging driver: compress cannot be true when max-file is less than 2 or "
          "max-size is "
          "not set" },
        { "json-file", "{\"compress\": \"bad\"}",
          "failed to initialize logging driver: strconv.ParseBool: parsing \"bad\": invalid syntax" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *got = complete(cases[i].type, cases[i].options, &none);

        g_assert_cmpstr(got, ==, cases[i].expected);
    }
    for (size_t i = 0; i < 2; i++) {
        g_autofree char *got =
            complete("json-file", i ? "{\"tag\": \"{{.Foo}}\"}" : "{\"labels-regex\": \"[\"}", &none);

        g_assert_true(g_str_has_prefix(got, "failed to initialize logging driver: "));
    }
}

static void
test_the_daemons_defaults(void)
{
    char *opts[] = { (char[]){ "max-size=2k" }, (char[]){ "max-file=4" }, NULL };
    char *bad[] = { (char[]){ "max-size" }, NULL };
    SlLogDefaults defaults;
    g_autoptr(GError) error = NULL;
    g_autofree char *plain = NULL;
    g_autofree char *own = NULL;
    g_autofree char *other = NULL;

    g_assert_false(sl_log_defaults_make(NULL, bad, &defaults, &error));
    g_clear_error(&error);
    g_assert_false(sl_log_defaults_make("foo", NULL, &defaults, &error));
    g_assert_true(sl_log_defaults_make("local", opts, &defaults, NULL));
    plain = complete("", NULL, &defaults);
    own = complete("local", "{\"max-size\": \"1k\"}", &defaults);
    other = complete("json-file", NULL, &defaults);
    g_assert_cmpstr(plain, ==, "local 2000 x 4");
    g_assert_cmpstr(own, ==, "local 1000 x 4");
    g_assert_cmpstr(other, ==, "json-file 0 x 1");
    sl_log_defaults_clear(&defaults);
}

static void
test_details(void)
{
    g_auto(DkContainerCreate) config = { 0 };
    g_autofree char *details = NULL;

    config.image = g_strdup("alpine");
    config.labels = json_loads("{\"a\": \"1 2\", \"b\": \"x\", \"c\": \"no\"}", 0, NULL);
    config.env = g_strsplit("E=v/w,F=no", ",", -1);
    config.host_config.log_config.config = json_loads(
        "{\"labels\": \"b,zz\", \"labels-regex\": \"^a\", \"env\": \"E\", \"tag\": \"t-{{.ID}}-{{.Name}}\"}",
        0, NULL);
    details = sl_log_config_details(&config, "0123456789abcdef", "me", "sha256:00");
    g_assert_cmpstr(details, ==, "E=v%2Fw,a=1+2,b=x,tag=t-0123456789ab-me");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/core/log-options/limits-by-dockers-grammar", test_limits_by_dockers_grammar);
    g_test_add_func("/core/log-options/refusals-are-dockers", test_refusals_are_dockers);
    g_test_add_func("/core/log-options/the-daemons-defaults", test_the_daemons_defaults);
    g_test_add_func("/core/log-options/details-are-escaped-and-sorted", test_details);
    return g_test_run();
}
