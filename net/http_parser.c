#include "net/http_parser.h"

#include <llhttp.h>
#include <string.h>

enum {
    MAX_FIELDS = 1000,
    MAX_OVERHEAD = 64 * 1024, /* of chunk extensions and trailers between two bytes of a body */
};

/* A range of the buffer, by offset, because the buffer may move. */
typedef struct Span {
    size_t at, n;
} Span;

struct SlHttpParser {
    llhttp_t llhttp; /* first: callbacks get a pointer to it */
    bool is_response, in_body, in_value, is_done;
    SlErrorCode failure; /* why a callback stopped, when it was ours */

    const char *base;
    size_t n_parsed, n_head;
    Span target;
    Span *names, *values;
    size_t n_fields, n_room;
    SlHttpField *fields;
    SlHttpHead head;

    char *body;
    size_t n_body, n_overhead;
};

static SlHttpParser *
parser_of(llhttp_t *llhttp)
{
    return (SlHttpParser *)(void *)llhttp;
}

static void
span_extend(SlHttpParser *parser, Span *span, const char *at, size_t n)
{
    if (span->n == 0)
        span->at = (size_t)(at - parser->base);
    span->n += n;
}

static int
on_url(llhttp_t *llhttp, const char *at, size_t n)
{
    SlHttpParser *parser = parser_of(llhttp);

    span_extend(parser, &parser->target, at, n);
    return HPE_OK;
}

static bool
fields_make_room(SlHttpParser *parser)
{
    if (parser->n_fields < parser->n_room)
        return true;
    if (parser->n_room >= MAX_FIELDS)
        return false;
    parser->n_room = parser->n_room ? MIN(MAX_FIELDS, parser->n_room * 2) : 24;
    parser->names = g_renew(Span, parser->names, parser->n_room);
    parser->values = g_renew(Span, parser->values, parser->n_room);
    parser->fields = g_renew(SlHttpField, parser->fields, parser->n_room);
    return true;
}

static int
on_header_field(llhttp_t *llhttp, const char *at, size_t n)
{
    SlHttpParser *parser = parser_of(llhttp);

    if (parser->in_body)
        return HPE_OK; /* a trailer */
    if (parser->in_value || parser->n_fields == 0) {
        if (!fields_make_room(parser)) {
            parser->failure = SL_ERROR_HEADERS;
            return HPE_USER;
        }
        parser->names[parser->n_fields] = parser->values[parser->n_fields] = (Span){ 0 };
        parser->n_fields++;
        parser->in_value = false;
    }
    span_extend(parser, &parser->names[parser->n_fields - 1], at, n);
    return HPE_OK;
}

static int
on_header_field_complete(llhttp_t *llhttp)
{
    parser_of(llhttp)->in_value = true;
    return HPE_OK;
}

static int
on_header_value(llhttp_t *llhttp, const char *at, size_t n)
{
    SlHttpParser *parser = parser_of(llhttp);

    if (!parser->in_body && parser->n_fields > 0)
        span_extend(parser, &parser->values[parser->n_fields - 1], at, n);
    return HPE_OK;
}

/* Framing after the head is ours. */
static int
on_headers_complete(llhttp_t *llhttp)
{
    return HPE_PAUSED;
}

static int
on_body(llhttp_t *llhttp, const char *at, size_t n)
{
    SlHttpParser *parser = parser_of(llhttp);

    memmove(parser->body + parser->n_body, at, n);
    parser->n_body += n;
    return HPE_OK;
}

static int
on_message_complete(llhttp_t *llhttp)
{
    parser_of(llhttp)->is_done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

SlHttpParser *
sl_http_parser_new(bool is_response)
{
    SlHttpParser *parser = g_new0(SlHttpParser, 1);

    parser->is_response = is_response;
    sl_http_parser_reset(parser);
    return parser;
}

void
sl_http_parser_free(SlHttpParser *parser)
{
    if (!parser)
        return;
    g_free(parser->names);
    g_free(parser->values);
    g_free(parser->fields);
    g_free(parser);
}

void
sl_http_parser_reset(SlHttpParser *parser)
{
    llhttp_init(&parser->llhttp, parser->is_response ? HTTP_RESPONSE : HTTP_REQUEST, &settings);
    parser->in_body = parser->in_value = parser->is_done = false;
    parser->failure = SL_ERROR_INVALID;
    parser->n_parsed = parser->n_head = parser->n_fields = 0;
    parser->n_body = parser->n_overhead = 0;
    parser->target = (Span){ 0 };
}

static bool
malformed(GError **error, const char *what)
{
    return sl_fail(error, SL_ERROR_INVALID, "malformed HTTP: %s", what);
}

/* Line ends that llhttp lets pass: a bare LF after the first line or at the end, folded lines, fields without
 * a name. */
static bool
lines_are_strict(const char *head, size_t n, GError **error)
{
    const char *end = head + n;
    const char *at = head;

    for (const char *lf; (lf = memchr(at, '\n', (size_t)(end - at))); at = lf + 1) {
        if (lf == head || lf[-1] != '\r')
            return malformed(error, "a line ends without CR");
        if (lf + 1 < end && (lf[1] == ' ' || lf[1] == '\t'))
            return malformed(error, "folded header line");
        if (lf + 1 < end && lf[1] == ':')
            return malformed(error, "header without a name");
    }
    return true;
}

static const char *
span_end_with_nul(char *buffer, Span span)
{
    while (span.n > 0 && (buffer[span.at + span.n - 1] == ' ' || buffer[span.at + span.n - 1] == '\t'))
        span.n--;
    if (span.n == 0)
        return "";
    buffer[span.at + span.n] = '\0';
    return buffer + span.at;
}

/* Whether a comma-separated list has token. */
static bool
list_has(const char *list, const char *token)
{
    size_t n_token = strlen(token);

    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");
        const char *next = at[n] ? at + n + 1 : at + n;

        while (n > 0 && (*at == ' ' || *at == '\t'))
            at++, n--;
        while (n > 0 && (at[n - 1] == ' ' || at[n - 1] == '\t'))
            n--;
        if (n == n_token && g_ascii_strncasecmp(at, token, n) == 0)
            return true;
        at = next;
    }
    return false;
}

typedef struct Notes {
    unsigned n_hosts;
    bool says_close, says_keep_alive, says_upgrade, names_protocol;
} Notes;

static bool
head_note(SlHttpParser *parser, const SlHttpField *field, Notes *notes, GError **error)
{
    SlHttpHead *head = &parser->head;
    const char *value = field->value;

    switch (strlen(field->name)) {
    case 4:
        if (g_ascii_strcasecmp(field->name, "host") == 0) {
            notes->n_hosts++;
            head->host = value;
        }
        break;
    case 6:
        if (g_ascii_strcasecmp(field->name, "expect") == 0)
            head->expects_continue = head->minor == 1 && g_ascii_strcasecmp(value, "100-continue") == 0;
        break;
    case 7:
        if (g_ascii_strcasecmp(field->name, "upgrade") == 0)
            notes->names_protocol = *value && g_ascii_strcasecmp(value, "h2c") != 0;
        break;
    case 10:
        if (g_ascii_strcasecmp(field->name, "connection") == 0) {
            notes->says_close |= list_has(value, "close");
            notes->says_keep_alive |= list_has(value, "keep-alive");
            notes->says_upgrade |= list_has(value, "upgrade");
        }
        break;
    case 14:
        /* llhttp has seen to it that there is one, all digits, within 64 bits */
        if (g_ascii_strcasecmp(field->name, "content-length") == 0) {
            if (!*value || parser->llhttp.content_length > G_MAXINT64)
                return malformed(error, "Content-Length");
            head->content_length = (int64_t)parser->llhttp.content_length;
        }
        break;
    case 17:
        if (g_ascii_strcasecmp(field->name, "transfer-encoding") == 0) {
            if (g_ascii_strcasecmp(value, "chunked") != 0 || head->is_chunked || head->minor == 0)
                return malformed(error, "unknown transfer coding");
            head->is_chunked = true;
        }
        break;
    default:
        break;
    }
    return true;
}

static bool
head_check_request(SlHttpParser *parser, const Notes *notes, GError **error)
{
    SlHttpHead *head = &parser->head;

    if (head->target[0] != '/' && strcmp(head->target, "*") != 0)
        return malformed(error, "the target is not a path");
    if (notes->n_hosts > 1 || (notes->n_hosts == 0 && head->minor == 1))
        return malformed(error,
                         notes->n_hosts ? "more than one Host header" : "missing required Host header");
    return true;
}

static bool
head_finish(SlHttpParser *parser, char *buffer, GError **error)
{
    SlHttpHead *head = &parser->head;
    Notes notes = { 0 };

    *head = (SlHttpHead){ .content_length = -1, .minor = parser->llhttp.http_minor };
    if (!lines_are_strict(buffer, parser->n_head, error))
        return false;
    if (parser->llhttp.http_major != 1 || head->minor > 1)
        return malformed(error, "unsupported protocol version");
    if (parser->is_response) {
        head->status = parser->llhttp.status_code;
    } else {
        head->method = llhttp_method_name(parser->llhttp.method);
        head->target = span_end_with_nul(buffer, parser->target);
    }
    head->fields = parser->fields;
    head->n_fields = parser->n_fields;
    for (size_t i = 0; i < parser->n_fields; i++) {
        parser->fields[i].name = span_end_with_nul(buffer, parser->names[i]);
        parser->fields[i].value = span_end_with_nul(buffer, parser->values[i]);
        if (!head_note(parser, &parser->fields[i], &notes, error))
            return false;
    }
    if (head->is_chunked && head->content_length >= 0)
        return malformed(error, "Content-Length with Transfer-Encoding");
    head->keep_alive = !notes.says_close && (head->minor == 1 || notes.says_keep_alive);
    head->wants_upgrade = notes.says_upgrade && notes.names_protocol;
    return parser->is_response || head_check_request(parser, &notes, error);
}

SlHttpParse
sl_http_parser_head(SlHttpParser *parser, char *buffer, size_t n, GError **error)
{
    llhttp_errno_t result;

    if (n == parser->n_parsed)
        return SL_HTTP_MORE;
    parser->base = buffer;
    result = llhttp_execute(&parser->llhttp, buffer + parser->n_parsed, n - parser->n_parsed);
    parser->n_parsed = n;
    if (result == HPE_OK)
        return SL_HTTP_MORE;
    if (result == HPE_PAUSED) {
        parser->n_head = (size_t)(llhttp_get_error_pos(&parser->llhttp) - buffer);
        return head_finish(parser, buffer, error) ? SL_HTTP_HEAD : SL_HTTP_BAD;
    }
    if (parser->failure == SL_ERROR_HEADERS)
        sl_fail(error, SL_ERROR_HEADERS, "too many header lines");
    else
        malformed(error, llhttp_get_error_reason(&parser->llhttp));
    return SL_HTTP_BAD;
}

const SlHttpHead *
sl_http_parser_get_head(SlHttpParser *parser)
{
    return &parser->head;
}

size_t
sl_http_parser_n_head(SlHttpParser *parser)
{
    return parser->n_head;
}

const char *
sl_http_head_get(const SlHttpHead *head, const char *name)
{
    for (size_t i = 0; i < head->n_fields; i++)
        if (g_ascii_strcasecmp(head->fields[i].name, name) == 0)
            return head->fields[i].value;
    return NULL;
}

bool
sl_http_parser_chunks(SlHttpParser *parser, char *data, size_t n, size_t *ret_n_body, size_t *ret_n_used,
                      bool *ret_is_done, GError **error)
{
    llhttp_errno_t result;
    size_t n_used = n;

    if (!parser->in_body) {
        parser->in_body = true;
        llhttp_resume(&parser->llhttp);
    }
    parser->body = data;
    parser->n_body = 0;
    result = llhttp_execute(&parser->llhttp, data, n);
    if (result == HPE_PAUSED || result == HPE_PAUSED_UPGRADE)
        n_used = (size_t)(llhttp_get_error_pos(&parser->llhttp) - data);
    else if (result != HPE_OK)
        return malformed(error, llhttp_get_error_reason(&parser->llhttp));
    parser->n_overhead = parser->n_body > 0 ? 0 : parser->n_overhead + n_used;
    if (parser->n_overhead > MAX_OVERHEAD)
        return malformed(error, "too much between two chunks");

    *ret_n_body = parser->n_body;
    *ret_n_used = n_used;
    *ret_is_done = parser->is_done;
    return true;
}
