/*
 * Heads and chunked bodies as a peer may send them. The first byte chooses request or response and the size
 * of the steps in which the rest arrives; what the parser says must not depend on the steps, or two readers
 * of one connection would see different messages.
 */
#include "net/http_internal.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

typedef struct Verdict {
    bool is_taken;
    size_t n_head, n_used;
    GString *body;
} Verdict;

static void
read_chunks(SlHttpParser *parser, const char *bytes, size_t n, size_t n_step, Verdict *verdict)
{
    size_t at = verdict->n_head;
    bool is_done = false;

    while (verdict->is_taken && !is_done && at < n) {
        size_t n_piece = MIN(n_step, n - at), n_body = 0, n_used = 0;
        g_autofree char *piece = g_memdup2(bytes + at, n_piece);

        verdict->is_taken = sl_http_parser_chunks(parser, piece, n_piece, &n_body, &n_used, &is_done, NULL);
        if (!verdict->is_taken)
            break;
        g_assert(n_used <= n_piece && n_body <= n_used && (is_done || n_used == n_piece));
        g_string_append_len(verdict->body, piece, (gssize)n_body);
        at += n_used;
    }
    verdict->n_used = at;
}

static bool
never_called(SlCall *call, GError **error)
{
    g_assert_not_reached();
}

static void
use_head(const SlHttpHead *head)
{
    static const SlRoute routes[] = {
        { "GET", "/images/{name...}/json", never_called, 0 },
        { "*", "/a/{x}/{y...}", never_called, 0 },
        { 0 },
    };
    g_autoptr(GString) path = g_string_new(NULL);
    SlPathMatch match;

    for (size_t i = 0; i < head->n_fields; i++)
        g_assert(strlen(head->fields[i].name) > 0 && !strpbrk(head->fields[i].value, "\r\n"));
    if (!head->target)
        return;
    g_assert(head->target[0] == '/' || strcmp(head->target, "*") == 0);
    if (sl_url_decode(head->target, strlen(head->target), false, path)) {
        g_assert(strlen(path->str) == path->len);
        sl_route_find(routes, head->method, path->str, &match);
    }
    if (head->host)
        sl_host_is_allowed(head->host, NULL);
}

static Verdict
parse(const char *bytes, size_t n, size_t n_step, bool is_response)
{
    g_autoptr(SlHttpParser) parser = sl_http_parser_new(is_response);
    Verdict verdict = { .body = g_string_new(NULL) };
    SlHttpParse result = SL_HTTP_MORE;
    g_autofree char *buffer = NULL;

    for (size_t at = 0; result == SL_HTTP_MORE && at < n;) {
        char *moved;

        at = MIN(n, at + n_step);
        moved = g_memdup2(bytes, at); /* exactly as much as there is, somewhere else each time */
        g_free(buffer);
        buffer = moved;
        result = sl_http_parser_head(parser, buffer, at, NULL);
    }
    verdict.is_taken = result == SL_HTTP_HEAD;
    if (!verdict.is_taken)
        return verdict;
    verdict.n_head = sl_http_parser_n_head(parser);
    use_head(sl_http_parser_get_head(parser));
    if (sl_http_parser_get_head(parser)->is_chunked)
        read_chunks(parser, bytes, n, n_step, &verdict);
    return verdict;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    Verdict whole, stepped;
    const char *bytes;

    if (n < 2 || n > 64 * 1024)
        return 0;
    bytes = (const char *)data + 1;
    whole = parse(bytes, n - 1, n - 1, data[0] & 1);
    stepped = parse(bytes, n - 1, 1 + (data[0] >> 1) % 64, data[0] & 1);
    g_assert(whole.is_taken == stepped.is_taken);
    if (whole.is_taken)
        g_assert(whole.n_head == stepped.n_head && whole.n_used == stepped.n_used &&
                 g_string_equal(whole.body, stepped.body));
    g_string_free(whole.body, TRUE);
    g_string_free(stepped.body, TRUE);
    return 0;
}
