#include "net/http_message.h"

#include <string.h>

enum {
    SMALL_READ = 512,         /* below it, chunks are read ahead into a buffer of ours */
    CHUNKED_READ = 64 * 1024, /* bounds what may have to be kept for the next message */
};

void
sl_input_reserve(SlInput *input, size_t room)
{
    if (input->room >= room)
        return;
    input->data = g_realloc(input->data, room);
    input->room = room;
}

void
sl_input_clear(SlInput *input)
{
    g_free(input->data);
    *input = (SlInput){ 0 };
}

static size_t
input_n(const SlInput *input)
{
    return input->end - input->at;
}

void
sl_http_body_begin(SlHttpBody *body, SlBodyKind kind, int64_t length)
{
    body->kind = kind;
    body->left = kind == SL_BODY_LENGTH ? length : 0;
    body->is_done = kind == SL_BODY_NONE || (kind == SL_BODY_LENGTH && length == 0);
    body->has_failed = false;
}

/* The buffer that holds what was read already, first things first; NULL when all is used up. */
static SlInput *
input_next(SlHttpBody *body)
{
    if (input_n(body->input) > 0)
        return body->input;
    return input_n(&body->more) > 0 ? &body->more : NULL;
}

bool
sl_http_body_has_input(const SlHttpBody *body)
{
    return input_n(body->input) > 0 || input_n(&body->more) > 0;
}

static ssize_t
body_fail(SlHttpBody *body, GError **error, const char *why)
{
    body->has_failed = true;
    sl_fail(error, SL_ERROR_INVALID, "%s", why);
    return SL_STREAM_FAILED;
}

/* > 0 bytes or SL_STREAM_AGAIN; the end of the connection is a failure here. */
static ssize_t
read_stream(SlHttpBody *body, void *data, size_t n, GError **error)
{
    ssize_t got = sl_stream_read_some(body->stream, data, n);

    body->may_have_more = got > 0 && sl_stream_may_have_more(body->stream, got, n);
    if (got == 0 || got == SL_STREAM_FAILED)
        return body_fail(body, error, "unexpected end of the body");
    return got;
}

static ssize_t
read_plain(SlHttpBody *body, void *data, size_t n, GError **error)
{
    SlInput *input = input_next(body);
    ssize_t got;

    if (body->kind == SL_BODY_LENGTH)
        n = (size_t)MIN((int64_t)MIN(n, (size_t)G_MAXSSIZE), body->left);
    if (input) {
        got = (ssize_t)MIN(n, input_n(input));
        memcpy(data, input->data + input->at, (size_t)got);
        input->at += (size_t)got;
    } else if (body->kind == SL_BODY_LENGTH) {
        got = read_stream(body, data, n, error);
    } else {
        got = sl_stream_read_some(body->stream, data, n);
        body->is_done = got == 0;
        if (got == SL_STREAM_FAILED)
            return body_fail(body, error, "the connection broke in the middle of the body");
    }
    if (body->kind == SL_BODY_LENGTH && got > 0) {
        body->left -= got;
        body->is_done = body->left == 0;
    }
    return got;
}

/* Raw bytes into data: copied from *ret_input (not yet taken off it), or straight from the stream when that
 * is NULL. */
static ssize_t
chunks_fetch(SlHttpBody *body, void *data, size_t n, SlInput **ret_input, GError **error)
{
    SlInput *input = input_next(body);
    size_t n_copied;

    if (!input && n < SMALL_READ) {
        ssize_t got;

        input = &body->more;
        sl_input_reserve(input, SL_INPUT_BYTES);
        got = read_stream(body, input->data, input->room, error);
        if (got <= 0)
            return got;
        input->at = 0;
        input->end = (size_t)got;
    }
    *ret_input = input;
    if (!input)
        return read_stream(body, data, MIN(n, CHUNKED_READ), error);
    n_copied = MIN(n, input_n(input));
    memcpy(data, input->data + input->at, n_copied);
    return (ssize_t)n_copied;
}

static ssize_t
read_chunked(SlHttpBody *body, char *data, size_t n, GError **error)
{
    size_t n_body = 0;

    while (n_body == 0 && !body->is_done) {
        SlInput *input = NULL;
        ssize_t n_raw = chunks_fetch(body, data, n, &input, error);
        size_t n_used;

        if (n_raw <= 0)
            return n_raw;
        if (!sl_http_parser_chunks(body->parser, data, (size_t)n_raw, &n_body, &n_used, &body->is_done,
                                   error)) {
            body->has_failed = true;
            return SL_STREAM_FAILED;
        }
        if (input) {
            input->at += n_used;
        } else if (n_used < (size_t)n_raw) {
            body->more.at = 0;
            body->more.end = (size_t)n_raw - n_used;
            sl_input_reserve(&body->more, body->more.end);
            memcpy(body->more.data, data + n_used, body->more.end);
        }
    }
    return (ssize_t)n_body;
}

ssize_t
sl_http_body_read_some(SlHttpBody *body, void *data, size_t n, GError **error)
{
    if (body->has_failed)
        return body_fail(body, error, "the body has broken off");
    if (body->is_done || n == 0)
        return 0;
    return body->kind == SL_BODY_CHUNKED ? read_chunked(body, data, n, error)
                                         : read_plain(body, data, n, error);
}
