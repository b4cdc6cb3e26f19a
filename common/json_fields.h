/*
 * JSON documents as C structs, by tables: one table reads, checks, writes and clears a struct.
 *
 *     static const SlJsonField fields[] = {
 *         SL_JSON_FIELD(Config, image, "Image", SL_JSON_STRING, SL_JSON_REQUIRED),
 *         SL_JSON_NESTED(Config, host, "HostConfig", host_fields),
 *         { 0 },
 *     };
 *
 * Reading: keys match without regard to ASCII case (as Go's decoder, which real clients count on; an exact
 * match wins), unknown keys are ignored, null leaves the member as it is. A wrong type is SL_ERROR_INVALID
 * and names the whole path:
 * "invalid request body: HostConfig.Memory must be an integer". On failure the struct is left cleared.
 * Writing: members in table order under the exact key.
 */
#pragma once

#include "common/error.h"

#include <jansson.h>
#include <stddef.h>

typedef enum SlJsonKind {
    SL_JSON_STRING = 1, /* char *; NULL when absent */
    SL_JSON_BOOL,       /* bool */
    SL_JSON_INT,        /* int; out of range is an error */
    SL_JSON_INT64,      /* int64_t */
    SL_JSON_DOUBLE,     /* double */
    SL_JSON_STRV,       /* GStrv; NULL when absent or null, empty when []. A lone string is taken as one
                           element where SL_JSON_STRING_OR_LIST is set */
    SL_JSON_OBJECT,     /* a nested struct, by value, with its own table */
    SL_JSON_ARRAY,      /* SlJsonArray of structs with their own table */
    SL_JSON_MAP,        /* json_t * object, kept whole; values all strings when SL_JSON_STRING_VALUES is set.
                           With a nested table every value is read by it and kept in its written form; with
                           SL_JSON_LIST_VALUES every value is a list of such */
    SL_JSON_ANY,        /* json_t *, whatever it is */
    SL_JSON_INT_PAIR,   /* int[2], both 0 or more: a console's height and width */
} SlJsonKind;

typedef enum SlJsonFlags {
    SL_JSON_OPTIONAL = 0,
    SL_JSON_REQUIRED = 1 << 0,       /* absent, null or "" is an error: "Image is required" */
    SL_JSON_OMIT_EMPTY = 1 << 1,     /* not written when false, 0, "", NULL or empty */
    SL_JSON_NULL_EMPTY = 1 << 2,     /* written as null when NULL (default: "", [], {} or 0 by kind) */
    SL_JSON_STRING_VALUES = 1 << 3,  /* of a map */
    SL_JSON_STRING_OR_LIST = 1 << 4, /* Cmd and Entrypoint of old clients */
    SL_JSON_READ_ONLY = 1 << 5,      /* written, never read: a client's value is ignored */
    SL_JSON_LIST_VALUES = 1 << 6,    /* of a map with a nested table */
    SL_JSON_PRESENCE = 1 << 7,       /* a bool at .present tells whether the value was given (not null);
                                        without it the key is written as null, or left out with
                                        SL_JSON_OMIT_EMPTY */
} SlJsonFlags;

typedef struct SlJsonField SlJsonField;
struct SlJsonField {
    const char *key; /* NULL ends the table */
    SlJsonKind kind;
    unsigned flags;
    size_t offset;
    const SlJsonField *nested; /* of SL_JSON_OBJECT, SL_JSON_ARRAY and maybe SL_JSON_MAP */
    size_t nested_size;        /* sizeof the array's element or the map's value */
    size_t present;            /* offset of the bool of SL_JSON_PRESENCE */
};

typedef struct SlJsonArray {
    void *items; /* n structs in a row */
    size_t n;
} SlJsonArray;

#define SL_JSON_FIELD(Type, member, key_, kind_, flags_)                                                     \
    {                                                                                                        \
        .key = key_, .kind = kind_, .flags = flags_, .offset = offsetof(Type, member)                        \
    }
#define SL_JSON_NESTED(Type, member, key_, fields_)                                                          \
    {                                                                                                        \
        .key = key_, .kind = SL_JSON_OBJECT, .offset = offsetof(Type, member), .nested = fields_             \
    }
#define SL_JSON_ARRAY_OF(Type, member, key_, Element, fields_, flags_)                                       \
    {                                                                                                        \
        .key = key_, .kind = SL_JSON_ARRAY, .flags = flags_, .offset = offsetof(Type, member),               \
        .nested = fields_, .nested_size = sizeof(Element)                                                    \
    }

/* With SL_JSON_PRESENCE: the struct has `bool has_<member>` too. */
#define SL_JSON_MAYBE(Type, member, key_, kind_, flags_)                                                     \
    {                                                                                                        \
        .key = key_, .kind = kind_, .flags = (flags_) | SL_JSON_PRESENCE, .offset = offsetof(Type, member),  \
        .present = offsetof(Type, has_##member)                                                              \
    }

/* record must be zeroed or cleared, or hold defaults that it owns. context begins the message of an error,
 * e.g. "invalid request body". */
bool sl_json_read(const json_t *json, const SlJsonField *fields, void *record, const char *context,
                  GError **error);
/* A new reference. */
json_t *sl_json_write(const SlJsonField *fields, const void *record);
/* The same without members that are as in a cleared struct, and without those that are never read: what is read from it equals record, in a
 * fraction of the text. */
json_t *sl_json_write_sparse(const SlJsonField *fields, const void *record);
/* Frees what the members own and zeroes them. */
void sl_json_clear(const SlJsonField *fields, void *record);

/* Parses text of n bytes. context as above; depth and size are bounded; duplicate keys: the last wins, as in
 * Go. */
json_t *sl_json_parse(const char *text, size_t n, const char *context, GError **error);
/* Compact text; caller frees with g_free. */
char *sl_json_dump(const json_t *json);
/* In main, before threads: fixes jansson's hash seed and makes it use GLib's allocator. */
void sl_json_setup(void);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_decref)
