/*
 * HTTP/1.x heads and chunked bodies: llhttp, and the refusals that it leaves to its user.
 *
 * A parser works on the owner's buffer, which begins with the message and may grow and move between calls.
 * Only heads and the chunked coding are its business; a body with a length needs no parser.
 */
#pragma once

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct SlHttpParser SlHttpParser;

typedef struct SlHttpField {
    const char *name, *value; /* without white space around it */
} SlHttpField;

/* All strings lie in the buffer, NUL-ended there once the head is complete. */
typedef struct SlHttpHead {
    const char *method, *target; /* of a request */
    unsigned status;             /* of a response */
    int minor;                   /* of HTTP/1.minor: 0 or 1 */
    const SlHttpField *fields;
    size_t n_fields;
    const char *host;       /* NULL: none (HTTP/1.0) */
    int64_t content_length; /* -1: none */
    bool is_chunked;
    bool keep_alive;       /* by version and Connection */
    bool wants_upgrade;    /* Connection: upgrade and an Upgrade to anything but h2c */
    bool expects_continue; /* HTTP/1.1 only */
} SlHttpHead;

SlHttpParser *sl_http_parser_new(bool is_response);
void sl_http_parser_free(SlHttpParser *parser);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlHttpParser, sl_http_parser_free)
/* For the next message. */
void sl_http_parser_reset(SlHttpParser *parser);

typedef enum SlHttpParse { SL_HTTP_MORE, SL_HTTP_HEAD, SL_HTTP_BAD } SlHttpParse;
/*
 * Goes on with a head; buffer holds the n bytes of the message so far, those of earlier calls included.
 * SL_HTTP_BAD with SL_ERROR_INVALID for what is malformed or can be read two ways, SL_ERROR_HEADERS for more
 * than 1000 fields. The size of the head is the owner's to limit.
 */
SlHttpParse sl_http_parser_head(SlHttpParser *parser, char *buffer, size_t n, GError **error);
/* After SL_HTTP_HEAD: borrowed until the buffer moves or the parser is reset. */
const SlHttpHead *sl_http_parser_get_head(SlHttpParser *parser);
/* How many bytes of the buffer the head took. */
size_t sl_http_parser_n_head(SlHttpParser *parser);
/* NULL when absent; any case of name; the first of several. */
const char *sl_http_head_get(const SlHttpHead *head, const char *name);

/*
 * Decodes n bytes of a chunked body in place: *ret_n_body bytes of it are at the beginning of data
 * afterwards. *ret_n_used is n, or less when *ret_is_done: the rest belongs to the next message and is
 * unchanged. Trailers are read and dropped. Errors: SL_ERROR_INVALID.
 */
bool sl_http_parser_chunks(SlHttpParser *parser, char *data, size_t n, size_t *ret_n_body, size_t *ret_n_used,
                           bool *ret_is_done, GError **error);
