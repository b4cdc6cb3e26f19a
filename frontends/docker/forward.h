/* Sends a call on to the backend and its answer back. */
#pragma once

#include "frontends/docker/normalise.h"
#include "net/http_client.h"

typedef enum SlForwardKind {
    SL_FORWARD_PLAIN,  /* an answer with an end */
    SL_FORWARD_STREAM, /* an answer that flows: the head goes out at once, then the two connections are
                        joined */
    SL_FORWARD_HIJACK, /* both directions, raw */
} SlForwardKind;

/*
 * query: what the endpoint knows; anything else the client sent is left out. body: taken, NULL for none.
 *
 * An error that the backend answers is passed to the client as it is. Errors: SL_ERROR_INVALID for a
 * parameter, SL_ERROR_UNAVAILABLE naming the backend when nobody is there.
 */
bool sl_forward(SlCall *call, SlForwardKind kind, const SlQueryField *query, json_t *body, GError **error);
/* The same with a body that is read by a table and written in its exact form. */
bool sl_forward_checked(SlCall *call, SlForwardKind kind, const SlQueryField *query,
                        const SlJsonField *fields, void *record, GError **error);

/* The same with the client's body passed on as it comes (archives). */
bool sl_forward_upload(SlCall *call, const SlQueryField *query, GError **error);

/* The two halves, for a handler that looks at the answer: the question (body: JSON text or NULL), */
SlHttpReply *sl_forward_ask(SlCall *call, SlForwardKind kind, const char *target, const char *body,
                            GError **error);
/* and the answer, which has an end. */
bool sl_forward_reply(SlCall *call, SlHttpReply *reply, GError **error);
