/* One shape for every version and spelling of a request. */
#pragma once

#include "api/gen/types.gen.h"
#include "net/http_server.h"

typedef enum SlQueryKind {
    SL_QUERY_TEXT = 1,
    SL_QUERY_INT,       /* checked */
    SL_QUERY_BOOL,      /* any of Docker's spellings → 1 or absent */
    SL_QUERY_BOOL_TRUE, /* the same, true when absent */
    SL_QUERY_LIST,      /* may repeat */
    SL_QUERY_FILTERS,   /* either spelling → {"key":["value"]} */
} SlQueryKind;

typedef struct SlQueryField {
    const char *name; /* NULL ends the table */
    SlQueryKind kind;
    int since; /* API version that brought it; ignored below. 0: always there */
} SlQueryField;

/* "/internal/v1/…?…" for the backend. Caller frees; NULL with SL_ERROR_INVALID. */
char *sl_normalise_target(SlCall *call, const SlQueryField *query, GError **error);

/* What the body of POST /containers/create means in version. Errors: SL_ERROR_INVALID in Docker's words. */
bool sl_normalise_create(int version, DkContainerCreate *create, GError **error);
