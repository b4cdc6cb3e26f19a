#include "agent/handshake.h"

#include "agent/protocol.h"
#include "common/id.h"

#include <string.h>

size_t
sl_handshake_head_length(const char *data, size_t n)
{
    const char *end = memmem(data, n, "\r\n\r\n", 4);

    return end ? (size_t)(end - data) + 4 : 0;
}

/* The value of the only header of that name, or NULL; borrowed from lines. */
static const char *
header_value(char **lines, const char *name)
{
    size_t n_name = strlen(name);
    const char *value = NULL;

    for (char **line = lines + 1; *line; line++) {
        if (g_ascii_strncasecmp(*line, name, n_name) != 0 || (*line)[n_name] != ':')
            continue;
        if (value)
            return NULL;
        value = g_strstrip(*line + n_name + 1);
    }
    return value;
}

static bool
lists_word(const char *value, const char *word)
{
    g_auto(GStrv) words = value ? g_strsplit(value, ",", 16) : NULL;

    for (char **at = words; at && *at; at++)
        if (g_ascii_strcasecmp(g_strstrip(*at), word) == 0)
            return true;
    return false;
}

static bool
token_matches(const char *authorization, const char *token)
{
    static const char scheme[] = "Bearer ";

    return authorization && g_ascii_strncasecmp(authorization, scheme, sizeof scheme - 1) == 0 &&
           sl_secret_equal(authorization + sizeof scheme - 1, token);
}

bool
sl_handshake_check(const char *head, size_t n, const char *token, char **ret_key, GError **error)
{
    g_autofree char *text = g_strndup(head, n);
    g_auto(GStrv) lines = NULL;
    const char *key;

    if (strlen(text) != n || n < 4)
        return sl_fail(error, SL_ERROR_INVALID, "not an HTTP request");
    text[n - 4] = '\0';
    lines = g_strsplit(text, "\r\n", 101);
    if (!lines[0] || g_strv_length(lines) > 100 || !g_str_has_suffix(lines[0], " HTTP/1.1"))
        return sl_fail(error, SL_ERROR_INVALID, "not an HTTP/1.1 request");
    if (strcmp(lines[0], "GET " SL_AGENT_PATH " HTTP/1.1") != 0)
        return sl_fail(error, SL_ERROR_NOT_FOUND, "page not found");
    /* The token first: who has none learns nothing else. */
    if (!token_matches(header_value(lines, "Authorization"), token))
        return sl_fail(error, SL_ERROR_UNAUTHORIZED, "a valid token is needed");
    key = header_value(lines, "Sec-WebSocket-Key");
    if (!lists_word(header_value(lines, "Upgrade"), "websocket") ||
        !lists_word(header_value(lines, "Connection"), "Upgrade") ||
        !lists_word(header_value(lines, "Sec-WebSocket-Version"), "13") || !key || strlen(key) != 24)
        return sl_fail(error, SL_ERROR_INVALID, "not a WebSocket handshake");

    *ret_key = g_strdup(key);
    return true;
}
