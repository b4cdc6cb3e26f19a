#include "net/http_internal.h"

#include <arpa/inet.h>
#include <string.h>

/* Notes a parameter that took the bytes of path from at on. */
static bool
match_note(SlPathMatch *match, const char *name, size_t n_name, size_t at, size_t n)
{
    if (match->n_params == SL_MAX_PARAMS)
        return false;
    match->params[match->n_params++] = (SlParam){ .name = name, .n_name = n_name, .at = at, .n = n };
    return true;
}

/* pattern and the path from at on both begin with "/" or are at their end. */
static bool
match_segments(const char *pattern, const char *path, size_t at, SlPathMatch *match)
{
    size_t n_pattern, n, n_before = match->n_params;

    if (*pattern == '\0' || path[at] == '\0')
        return *pattern == path[at];
    pattern++, at++;
    n_pattern = strcspn(pattern, "/");
    n = strcspn(path + at, "/");
    if (*pattern != '{')
        return n == n_pattern && memcmp(pattern, path + at, n) == 0 &&
               match_segments(pattern + n, path, at + n, match);
    if (n == 0)
        return false;
    if (n_pattern < 5 || memcmp(pattern + n_pattern - 4, "...}", 4) != 0)
        return match_note(match, pattern + 1, n_pattern - 2, at, n) &&
               match_segments(pattern + n_pattern, path, at + n, match);

    for (;;) {
        match->n_params = n_before;
        if (!match_note(match, pattern + 1, n_pattern - 5, at, n))
            return false;
        if (match_segments(pattern + n_pattern, path, at + n, match))
            return true;
        if (path[at + n] == '\0')
            return false;
        n += 1 + strcspn(path + at + n + 1, "/");
    }
}

const SlRoute *
sl_route_find(const SlRoute *table, const char *method, const char *path, SlPathMatch *ret_match)
{
    for (const SlRoute *route = table; route->handler; route++) {
        if (strcmp(route->method, method) != 0 && strcmp(route->method, "*") != 0)
            continue;
        ret_match->n_params = 0;
        if (strcmp(route->path, "*") == 0 ||
            (path[0] == '/' && match_segments(route->path, path, 0, ret_match)))
            return route;
    }
    return NULL;
}

bool
sl_url_decode(const char *text, size_t n, bool plus, GString *out)
{
    for (size_t i = 0; i < n; i++) {
        char c = text[i];

        if (c == '%') {
            if (n - i < 3 || !g_ascii_isxdigit(text[i + 1]) || !g_ascii_isxdigit(text[i + 2]))
                return false;
            c = (char)(g_ascii_xdigit_value(text[i + 1]) * 16 + g_ascii_xdigit_value(text[i + 2]));
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c == '\0')
            return false;
        g_string_append_c(out, c);
    }
    return true;
}

bool
sl_host_is_allowed(const char *host, char **allowed)
{
    g_autofree char *name = NULL;
    struct in6_addr address;
    const char *end;

    if (host[0] == '[') {
        end = strchr(host, ']');
        name = end ? g_strndup(host + 1, (size_t)(end - host - 1)) : NULL;
        return name && inet_pton(AF_INET6, name, &address) == 1;
    }
    name = g_strndup(host, strcspn(host, ":"));
    if (g_ascii_strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &address) == 1)
        return true;
    for (char **one = allowed; one && *one; one++)
        if (g_ascii_strcasecmp(name, *one) == 0)
            return true;
    return false;
}
