#include "backends/core/options.h"
#include "common/error.h"

static const SlOption table[] = {
    { .name = "HostConfig.Binds", .verdict = SL_OPTION_REFUSED, .advice = "copy instead" },
    { .name = "HostConfig.Privileged", .verdict = SL_OPTION_NO_EFFECT, .advice = "it changes nothing" },
    { .name = "HostConfig.NetworkMode!=default|bridge",
      .verdict = SL_OPTION_REFUSED,
      .advice = "no networks" },
    { .name = "HostConfig.IpcMode=host", .verdict = SL_OPTION_NO_EFFECT, .advice = "no host" },
    { .name = "Hostname", .verdict = SL_OPTION_HONOURED },
    { 0 },
};

static const SlOption *
test_options(SlDriver *driver)
{
    return table;
}

static bool
check(const char *body_text, json_t *warnings, GError **error)
{
    static const SlDriverOps ops = { .name = "test", .options = test_options };
    g_autoptr(json_t) body = json_loads(body_text, 0, NULL);
    SlDriver driver;

    sl_driver_init(&driver, &ops);
    return sl_options_check(&driver, body, warnings, error);
}

static void
test_refuses_by_name_and_says_what_to_do(void)
{
    g_autoptr(json_t) warnings = json_array();
    g_autoptr(GError) error = NULL;

    g_assert_false(check("{\"HostConfig\": {\"Binds\": [\"/a:/b\"]}}", warnings, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_UNSUPPORTED);
    g_assert_cmpstr(error->message, ==,
                    "HostConfig.Binds is not supported by the test backend: copy instead");
}

static void
test_defaults_are_not_given(void)
{
    g_autoptr(json_t) warnings = json_array();

    g_assert_true(check(
        "{\"HostConfig\": {\"Binds\": [], \"Privileged\": false, \"NetworkMode\": \"\", \"IpcMode\": null}}",
        warnings, NULL));
    g_assert_true(check("{\"HostConfig\": null}", warnings, NULL));
    g_assert_true(check("{}", warnings, NULL));
    g_assert_cmpuint(json_array_size(warnings), ==, 0);
}

static void
test_without_effect_is_a_warning(void)
{
    g_autoptr(json_t) warnings = json_array();

    g_assert_true(
        check("{\"Hostname\": \"h\", \"HostConfig\": {\"Privileged\": true, \"IpcMode\": \"host\"}}",
              warnings, NULL));
    g_assert_cmpuint(json_array_size(warnings), ==, 2);
    g_assert_cmpstr(json_string_value(json_array_get(warnings, 0)), ==,
                    "HostConfig.Privileged: it changes nothing");
}

static void
test_values_are_told_apart(void)
{
    g_autoptr(json_t) warnings = json_array();

    g_assert_true(
        check("{\"HostConfig\": {\"NetworkMode\": \"bridge\", \"IpcMode\": \"private\"}}", warnings, NULL));
    g_assert_cmpuint(json_array_size(warnings), ==, 0);
    g_assert_false(check("{\"HostConfig\": {\"NetworkMode\": \"mine\"}}", warnings, NULL));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/core/options/refuses-by-name-and-says-what-to-do",
                    test_refuses_by_name_and_says_what_to_do);
    g_test_add_func("/core/options/defaults-are-not-given", test_defaults_are_not_given);
    g_test_add_func("/core/options/without-effect-is-a-warning", test_without_effect_is_a_warning);
    g_test_add_func("/core/options/values-are-told-apart", test_values_are_told_apart);
    return g_test_run();
}
