#include "common/json_fields.h"

#include <stdint.h>
#include <string.h>

typedef struct Part {
    char *name;
    int64_t size;
} Part;

static const SlJsonField part_fields[] = {
    SL_JSON_FIELD(Part, name, "Name", SL_JSON_STRING, SL_JSON_REQUIRED),
    SL_JSON_FIELD(Part, size, "Size", SL_JSON_INT64, 0),
    { 0 },
};

typedef struct Whole {
    char *image, *label;
    bool remove, init, has_init, has_part;
    int count, pair[2];
    int64_t memory;
    double ratio;
    char **cmd, **env;
    Part part;
    SlJsonArray parts;
    json_t *labels, *any, *by_name, *lists;
    char *made;
} Whole;

static const SlJsonField whole_fields[] = {
    SL_JSON_FIELD(Whole, image, "Image", SL_JSON_STRING, 0),
    SL_JSON_FIELD(Whole, label, "Label", SL_JSON_STRING, SL_JSON_OMIT_EMPTY),
    SL_JSON_FIELD(Whole, remove, "AutoRemove", SL_JSON_BOOL, 0),
    SL_JSON_MAYBE(Whole, init, "Init", SL_JSON_BOOL, 0),
    SL_JSON_FIELD(Whole, count, "Count", SL_JSON_INT, SL_JSON_OMIT_EMPTY),
    SL_JSON_FIELD(Whole, pair, "Pair", SL_JSON_INT_PAIR, SL_JSON_OMIT_EMPTY),
    SL_JSON_FIELD(Whole, memory, "Memory", SL_JSON_INT64, SL_JSON_OMIT_EMPTY),
    SL_JSON_FIELD(Whole, ratio, "Ratio", SL_JSON_DOUBLE, SL_JSON_OMIT_EMPTY),
    SL_JSON_FIELD(Whole, cmd, "Cmd", SL_JSON_STRV, SL_JSON_NULL_EMPTY | SL_JSON_STRING_OR_LIST),
    SL_JSON_FIELD(Whole, env, "Env", SL_JSON_STRV, 0),
    { .key = "Part",
      .kind = SL_JSON_OBJECT,
      .flags = SL_JSON_OMIT_EMPTY | SL_JSON_PRESENCE,
      .offset = offsetof(Whole, part),
      .nested = part_fields,
      .present = offsetof(Whole, has_part) },
    SL_JSON_ARRAY_OF(Whole, parts, "Parts", Part, part_fields, SL_JSON_NULL_EMPTY),
    SL_JSON_FIELD(Whole, labels, "Labels", SL_JSON_MAP, SL_JSON_STRING_VALUES),
    SL_JSON_FIELD(Whole, any, "Any", SL_JSON_ANY, SL_JSON_OMIT_EMPTY),
    { .key = "ByName",
      .kind = SL_JSON_MAP,
      .flags = SL_JSON_OMIT_EMPTY,
      .offset = offsetof(Whole, by_name),
      .nested = part_fields,
      .nested_size = sizeof(Part) },
    { .key = "Lists",
      .kind = SL_JSON_MAP,
      .flags = SL_JSON_OMIT_EMPTY | SL_JSON_LIST_VALUES,
      .offset = offsetof(Whole, lists),
      .nested = part_fields,
      .nested_size = sizeof(Part) },
    SL_JSON_FIELD(Whole, made, "Made", SL_JSON_STRING, SL_JSON_OMIT_EMPTY | SL_JSON_READ_ONLY),
    { 0 },
};

static void
whole_clear(Whole *whole)
{
    sl_json_clear(whole_fields, whole);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Whole, whole_clear)

static bool
read_text(const char *text, Whole *whole, GError **error)
{
    g_autoptr(json_t) json = sl_json_parse(text, strlen(text), "invalid request body", error);

    return json && sl_json_read(json, whole_fields, whole, "invalid request body", error);
}

static char *
round_trip(const char *text)
{
    g_auto(Whole) whole = { 0 };
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) json = NULL;

    g_assert_true(read_text(text, &whole, &error));
    g_assert_no_error(error);
    json = sl_json_write(whole_fields, &whole);
    return sl_json_dump(json);
}

static void
test_errors_name_the_path(void)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "{\"Memory\": \"1g\"}", "Memory must be an integer" },
        { "{\"memory\": 1.5}", "Memory must be an integer" },
        { "{\"Count\": 4294967296}", "Count must be between -2147483648 and 2147483647" },
        { "{\"Image\": 3}", "Image must be a string" },
        { "{\"AutoRemove\": 1}", "AutoRemove must be true or false" },
        { "{\"Ratio\": \"x\"}", "Ratio must be a number" },
        { "{\"Env\": \"A=b\"}", "Env must be a list of strings" },
        { "{\"Env\": [\"A=b\", 3]}", "Env[1] must be a string" },
        { "{\"Pair\": [1]}", "Pair must be a list of two integers" },
        { "{\"Pair\": [1, -1]}", "Pair[1] must be between 0 and 2147483647" },
        { "{\"Part\": []}", "Part must be an object" },
        { "{\"Part\": {}}", "Part.Name is required" },
        { "{\"Part\": {\"Name\": \"\"}}", "Part.Name is required" },
        { "{\"Parts\": {}}", "Parts must be a list" },
        { "{\"Parts\": [{\"Name\": \"a\"}, {\"Name\": \"b\", \"Size\": []}]}",
          "Parts[1].Size must be an integer" },
        { "{\"Labels\": [\"a\"]}", "Labels must be an object" },
        { "{\"Labels\": {\"a\": 1}}", "Labels.a must be a string" },
        { "{\"ByName\": {\"a\": {\"Name\": 1}}}", "ByName.a.Name must be a string" },
        { "{\"Lists\": {\"a\": {}}}", "Lists.a must be a list" },
        { "{\"Lists\": {\"a\": [{\"Name\": \"x\"}, 3]}}", "Lists.a[1] must be an object" },
        { "[]", "it must be an object" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *message = g_strdup_printf("invalid request body: %s", cases[i].message);
        g_auto(Whole) whole = { 0 };
        g_autoptr(GError) error = NULL;

        g_assert_false(read_text(cases[i].text, &whole, &error));
        g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
        g_assert_cmpstr(error->message, ==, message);
    }
}

static void
test_failure_leaves_nothing(void)
{
    g_auto(Whole) whole = { 0 };
    Whole zero = { 0 };

    g_assert_false(read_text("{\"Image\":\"a\",\"Init\":true,\"Env\":[\"x\"],\"Parts\":[{\"Name\":\"n\"}],"
                             "\"Labels\":{\"a\":\"b\"},\"ByName\":{\"x\":3}}",
                             &whole, NULL));
    g_assert_cmpmem(&whole, sizeof whole, &zero, sizeof zero);
}

static void
test_keys_match_in_any_case(void)
{
    g_auto(Whole) whole = { 0 };
    g_auto(Whole) both = { 0 };

    g_assert_true(
        read_text("{\"image\":\"a\",\"MEMORY\":7,\"part\":{\"nAME\":\"p\"},\"other\":{}}", &whole, NULL));
    g_assert_cmpstr(whole.image, ==, "a");
    g_assert_cmpint(whole.memory, ==, 7);
    g_assert_cmpstr(whole.part.name, ==, "p");
    g_assert_true(read_text("{\"Image\":\"exact\",\"image\":\"other\"}", &both, NULL));
    g_assert_cmpstr(both.image, ==, "exact");
}

static void
test_null_keeps_defaults(void)
{
    g_auto(Whole) whole = { .image = g_strdup("default"), .memory = 5 };

    g_assert_true(
        read_text("{\"Image\":null,\"Memory\":null,\"Init\":null,\"Made\":\"by a client\"}", &whole, NULL));
    g_assert_cmpstr(whole.image, ==, "default");
    g_assert_cmpint(whole.memory, ==, 5);
    g_assert_false(whole.has_init);
    g_assert_null(whole.made);
    g_assert_true(read_text("{\"Image\":\"new\"}", &whole, NULL));
    g_assert_cmpstr(whole.image, ==, "new");
}

static void
test_writing_tells_null_from_empty_from_absent(void)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "{}", "{\"Image\":\"\",\"AutoRemove\":false,\"Init\":null,\"Cmd\":null,\"Env\":[],"
                "\"Parts\":null,\"Labels\":{}}" },
        { "{\"Init\":false,\"Cmd\":[],\"Parts\":[],\"Part\":{\"Name\":\"p\",\"Size\":1}}",
          "{\"Image\":\"\",\"AutoRemove\":false,\"Init\":false,\"Cmd\":[],\"Env\":[],\"Part\":{\"Name\":"
          "\"p\","
          "\"Size\":1},\"Parts\":[],\"Labels\":{}}" },
        { "{\"Cmd\":\"a b\",\"Env\":[null],\"Part\":{\"Name\":\"p\"},\"Parts\":[{\"name\":\"q\",\"x\":1}],"
          "\"Labels\":{\"a\":null},\"Any\":[[1]],\"Pair\":[2,3],\"Count\":1,\"Ratio\":0.5,\"Memory\":9,"
          "\"ByName\":{\"n\":{\"NAME\":\"v\"}},\"Lists\":{\"l\":[{\"Name\":\"w\"}],\"m\":null}}",
          "{\"Image\":\"\",\"AutoRemove\":false,\"Init\":null,\"Count\":1,\"Pair\":[2,3],\"Memory\":9,"
          "\"Ratio\":0.5,"
          "\"Cmd\":[\"a "
          "b\"],\"Env\":[\"\"],\"Part\":{\"Name\":\"p\",\"Size\":0},\"Parts\":[{\"Name\":\"q\",\"Size\":0}],"
          "\"Labels\":{\"a\":\"\"},\"Any\":[[1]],\"ByName\":{\"n\":{\"Name\":\"v\",\"Size\":0}},"
          "\"Lists\":{\"l\":[{\"Name\":\"w\",\"Size\":0}],\"m\":[]}}" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *out = round_trip(cases[i].in);
        g_autofree char *again = round_trip(out);

        g_assert_cmpstr(out, ==, cases[i].out);
        g_assert_cmpstr(again, ==, out);
    }
}

static void
test_parse_refuses_bad_text(void)
{
    static const char *const bad[] = {
        "", "{", "{} x", "{\"a\":\"\\u0000\"}", "{\"a\":99999999999999999999}", "\xff", "{\"a\":1,}"
    };
    g_autofree char *deep = g_strnfill(10000, '[');
    g_autoptr(json_t) last = sl_json_parse("{\"a\":1,\"a\":2}", 13, "x", NULL);
    g_autoptr(json_t) brackets = sl_json_parse("\"[[\\\"[[[\"", 9, "x", NULL);
    g_autoptr(GError) error = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) problem = NULL;

        g_assert_null(sl_json_parse(bad[i], strlen(bad[i]), "invalid request body", &problem));
        g_assert_error(problem, SL_ERROR, SL_ERROR_INVALID);
        g_assert_true(g_str_has_prefix(problem->message, "invalid request body: not valid JSON at line "));
    }
    g_assert_null(sl_json_parse(deep, 10000, "invalid request body", &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    g_assert_cmpint(json_integer_value(json_object_get(last, "a")), ==, 2);
    g_assert_true(json_is_string(brackets));
}

static void
test_writes_bytes_that_are_not_utf8(void)
{
    Whole whole = { .image = (char[]){ 'a', '\xff', 0 } };
    g_autoptr(json_t) json = sl_json_write(whole_fields, &whole);

    g_assert_cmpstr(json_string_value(json_object_get(json, "Image")), ==, "a\xef\xbf\xbd");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    sl_json_setup();
    g_test_add_func("/common/json/errors-name-the-path", test_errors_name_the_path);
    g_test_add_func("/common/json/failure-leaves-nothing", test_failure_leaves_nothing);
    g_test_add_func("/common/json/keys-match-in-any-case", test_keys_match_in_any_case);
    g_test_add_func("/common/json/null-keeps-defaults", test_null_keeps_defaults);
    g_test_add_func("/common/json/null-empty-and-absent-are-told-apart",
                    test_writing_tells_null_from_empty_from_absent);
    g_test_add_func("/common/json/parse-refuses-bad-text", test_parse_refuses_bad_text);
    g_test_add_func("/common/json/writes-bytes-that-are-not-utf8", test_writes_bytes_that_are_not_utf8);
    return g_test_run();
}
