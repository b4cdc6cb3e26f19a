#include "net/token.h"

#include "common/log.h"
#include "common/thread.h"

#include <string.h>
#include <sys/stat.h>

enum { SHORTEST = 16, LONGEST = 1024 };

struct SlToken {
    char *flag, *path;
    pthread_mutex_t lock; /* of text */
    char *text;
};

static bool
is_sane(const char *text)
{
    for (const char *at = text; *at; at++)
        if (!g_ascii_isgraph(*at))
            return false;
    return strlen(text) >= SHORTEST && strlen(text) <= LONGEST;
}

static bool
read_file(const SlToken *token, char **ret_text, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) local = NULL;
    struct stat status;

    if (!g_file_get_contents(token->path, &text, NULL, &local))
        return sl_fail(error, SL_ERROR_INVALID, "%s: %s", token->flag, local->message);
    text[strcspn(text, "\r\n")] = '\0';
    if (!is_sane(text))
        return sl_fail(error, SL_ERROR_INVALID,
                       "%s: the first line of %s is not a token of %d to %d visible characters", token->flag,
                       token->path, SHORTEST, LONGEST);
    if (stat(token->path, &status) == 0 && (status.st_mode & (S_IRGRP | S_IROTH)))
        sl_warn("token can be read by others than its owner path=%s", token->path);
    *ret_text = g_steal_pointer(&text);
    return true;
}

SlToken *
sl_token_open(const char *flag, const char *path, GError **error)
{
    g_autoptr(SlToken) token = g_new0(SlToken, 1);

    pthread_mutex_init(&token->lock, NULL);
    token->flag = g_strdup(flag);
    token->path = g_strdup(path);
    return read_file(token, &token->text, error) ? g_steal_pointer(&token) : NULL;
}

bool
sl_token_reload(SlToken *token, GError **error)
{
    g_autofree char *text = NULL;

    if (!read_file(token, &text, error))
        return false;
    SL_LOCK_GUARD(&token->lock);
    g_free(token->text);
    token->text = g_steal_pointer(&text);
    return true;
}

void
sl_token_free(SlToken *token)
{
    if (!token)
        return;
    pthread_mutex_destroy(&token->lock);
    g_free(token->flag);
    g_free(token->path);
    g_free(token->text);
    g_free(token);
}

char *
sl_token_format(SlToken *token)
{
    SL_LOCK_GUARD(&token->lock);

    return g_strconcat("Bearer ", token->text, NULL);
}

/* Looks at every byte of given, whatever the first difference. */
static bool
is_equal(const char *secret, const char *given)
{
    size_t n_secret = strlen(secret), n_given = strlen(given);
    volatile unsigned char difference = n_secret != n_given;

    for (size_t i = 0; i < n_given; i++)
        difference |= (unsigned char)given[i] ^ (unsigned char)secret[i % n_secret];
    return difference == 0;
}

bool
sl_token_matches(SlToken *token, const char *authorization)
{
    static const char scheme[] = "Bearer ";

    if (!authorization || g_ascii_strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return false;
    SL_LOCK_GUARD(&token->lock);
    return is_equal(token->text, authorization + sizeof scheme - 1);
}
