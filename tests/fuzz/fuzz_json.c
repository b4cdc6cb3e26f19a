/* Text from outside through the parser, a table with every kind, and back: what was read is written the same twice. */
#include "common/json_fields.h"

#include <stdint.h>
#include <string.h>

typedef struct Part {
    char *name;
    int64_t size;
} Part;

static const SlJsonField part_fields[] = {
    SL_JSON_FIELD(Part, name, "Name", SL_JSON_STRING, 0),
    SL_JSON_FIELD(Part, size, "Size", SL_JSON_INT64, 0),
    { 0 },
};

typedef struct Whole {
    char *text;
    bool flag, has_flag;
    int count, pair[2];
    double ratio;
    char **list;
    Part part;
    SlJsonArray parts;
    json_t *map, *strings, *any, *lists;
} Whole;

static const SlJsonField fields[] = {
    SL_JSON_FIELD(Whole, text, "Text", SL_JSON_STRING, SL_JSON_OMIT_EMPTY),
    SL_JSON_MAYBE(Whole, flag, "Flag", SL_JSON_BOOL, 0),
    SL_JSON_FIELD(Whole, count, "Count", SL_JSON_INT, 0),
    SL_JSON_FIELD(Whole, pair, "Pair", SL_JSON_INT_PAIR, 0),
    SL_JSON_FIELD(Whole, ratio, "Ratio", SL_JSON_DOUBLE, 0),
    SL_JSON_FIELD(Whole, list, "List", SL_JSON_STRV, SL_JSON_NULL_EMPTY | SL_JSON_STRING_OR_LIST),
    SL_JSON_NESTED(Whole, part, "Part", part_fields),
    SL_JSON_ARRAY_OF(Whole, parts, "Parts", Part, part_fields, SL_JSON_NULL_EMPTY),
    SL_JSON_FIELD(Whole, map, "Map", SL_JSON_MAP, SL_JSON_NULL_EMPTY),
    SL_JSON_FIELD(Whole, strings, "Strings", SL_JSON_MAP, SL_JSON_STRING_VALUES),
    SL_JSON_FIELD(Whole, any, "Any", SL_JSON_ANY, 0),
    { .key = "Lists",
      .kind = SL_JSON_MAP,
      .flags = SL_JSON_LIST_VALUES,
      .offset = offsetof(Whole, lists),
      .nested = part_fields,
      .nested_size = sizeof(Part) },
    { 0 },
};

static char *
read_and_write(const char *text, size_t n)
{
    g_autoptr(json_t) json = sl_json_parse(text, n, "fuzz", NULL);
    g_autoptr(json_t) written = NULL;
    Whole whole = { 0 };

    if (!json || !sl_json_read(json, fields, &whole, "fuzz", NULL))
        return NULL;
    written = sl_json_write(fields, &whole);
    sl_json_clear(fields, &whole);
    return sl_json_dump(written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    g_autofree char *once = read_and_write((const char *)data, n);
    g_autofree char *twice = once ? read_and_write(once, strlen(once)) : NULL;

    if (once)
        g_assert_cmpstr(once, ==, twice);
    return 0;
}
