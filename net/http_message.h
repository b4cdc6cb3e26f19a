/* What server and client share below their own waiting: a buffer of unread bytes, and a body that is decoded
 * from it and from a stream. */
#pragma once

#include "net/http_parser.h"
#include "net/stream.h"

enum { SL_INPUT_BYTES = 4096 }; /* of a fresh buffer */

typedef struct SlInput {
    char *data;
    size_t room, at, end; /* unread: from at to end */
} SlInput;

void sl_input_reserve(SlInput *input, size_t room);
void sl_input_clear(SlInput *input);

typedef enum SlBodyKind { SL_BODY_NONE, SL_BODY_LENGTH, SL_BODY_CHUNKED, SL_BODY_UNTIL_CLOSE } SlBodyKind;

/* input holds what was read with the head, and is used up first; afterwards more holds what was read too
 * much. */
typedef struct SlHttpBody {
    SlHttpParser *parser;
    SlStream *stream;
    SlInput *input;
    SlInput more;
    SlBodyKind kind;
    int64_t left; /* of SL_BODY_LENGTH */
    bool is_done, has_failed;
    bool may_have_more; /* the last read from the stream filled its buffer */
} SlHttpBody;

/* A request's body as its head says. more is kept as it is, so that its memory is used again. */
void sl_http_body_begin(SlHttpBody *body, SlBodyKind kind, int64_t length);
bool sl_http_body_has_input(const SlHttpBody *body);
/* As sl_stream_read_some: > 0 bytes, 0 the end, SL_STREAM_AGAIN, SL_STREAM_FAILED with *error
 * (SL_ERROR_INVALID). */
ssize_t sl_http_body_read_some(SlHttpBody *body, void *data, size_t n, GError **error);
