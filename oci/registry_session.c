#include "oci/registry_internal.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_REDIRECTS = 5,
    MAX_ERROR_BYTES = 64 * 1024,
};

void
sl_session_init(SlSession *session, SlRegistry *registry, SlCancel *cancel, const SlEndpoint *endpoint,
                const SlRegistryAuth *auth, const char *scope)
{
    *session =
        (SlSession){ .registry = registry, .cancel = cancel, .endpoint = endpoint, .scope = g_strdup(scope) };
    /* The login is for the registry that was named; a mirror is somebody else. */
    session->auth = endpoint->is_mirror ? NULL : auth;
    pthread_mutex_init(&session->lock, NULL);
}

void
sl_session_clear(SlSession *session)
{
    if (!session->registry)
        return;
    g_free(session->scope);
    g_free(session->authorization);
    pthread_mutex_destroy(&session->lock);
    *session = (SlSession){ 0 };
}

static char *
authorization_dup(SlSession *session)
{
    SL_LOCK_GUARD(&session->lock);
    return g_strdup(session->authorization);
}

static void
authorization_set(SlSession *session, char *value /* taken */)
{
    SL_LOCK_GUARD(&session->lock);
    g_free(session->authorization);
    session->authorization = value;
}

/* One request, without following anything. authorization: NULL sends none. */
static bool
get_once(SlSession *session, const SlSessionGet *get, const char *url, const char *authorization,
         SlFetchReply *ret_reply, GError **error)
{
    const char *headers[7] = { NULL };
    size_t n = 0;
    char range[48];
    SlFetch fetch = {
        .method = "GET",
        .url = url,
        .headers = headers,
        .sink = get->sink,
        .sink_user = get->sink_user,
        .max_body = get->max_body ? get->max_body : MAX_ERROR_BYTES,
    };

    if (authorization) {
        headers[n++] = "Authorization";
        headers[n++] = authorization;
    }
    if (get->accept) {
        headers[n++] = "Accept";
        headers[n++] = get->accept;
    }
    if (get->offset > 0) {
        snprintf(range, sizeof range, "bytes=%" G_GINT64_FORMAT "-", get->offset);
        headers[n++] = "Range";
        headers[n++] = range;
    }
    return sl_registry_fetch(session->registry, session->cancel, session->endpoint, &fetch, ret_reply, error);
}

static bool
is_redirect(unsigned status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static char *
redirect_target(const SlFetchReply *reply, const char *url, GError **error)
{
    const char *location = g_hash_table_lookup(reply->headers, "location");
    char *target = location ? g_uri_resolve_relative(url, location, G_URI_FLAGS_ENCODED, NULL) : NULL;

    if (!target)
        sl_fail(error, SL_ERROR_SYSTEM, "the registry redirects to nowhere");
    return target;
}

/* Follows redirects; the login stays with the registry's own origin. ret_is_own: the answer is from there. */
static bool
get_following(SlSession *session, const SlSessionGet *get, const char *authorization, SlFetchReply *ret_reply,
              bool *ret_is_own, GError **error)
{
    g_autofree char *own = sl_url_origin(session->endpoint->base);
    g_autofree char *url = g_strconcat(session->endpoint->base, get->path, NULL);

    for (int hop = 0; hop <= MAX_REDIRECTS; hop++) {
        g_auto(SlFetchReply) reply = { 0 };
        g_autofree char *origin = sl_url_origin(url);
        char *target;

        if (!sl_registry_url_check(session->registry, session->endpoint, url, error))
            return false;
        *ret_is_own = g_strcmp0(origin, own) == 0;
        if (!get_once(session, get, url, *ret_is_own ? authorization : NULL, &reply, error))
            return false;
        if (!is_redirect(reply.status)) {
            *ret_reply = reply;
            reply = (SlFetchReply){ 0 };
            return true;
        }
        target = redirect_target(&reply, url, error);
        if (!target)
            return false;
        g_free(url);
        url = target;
    }
    return sl_fail(error, SL_ERROR_SYSTEM, "the registry redirects more than %d times", MAX_REDIRECTS);
}

/* Answers a 401 of the registry itself. False without an error: there is nothing to answer with. */
static bool
login_again(SlSession *session, const SlFetchReply *reply, const char *path, GError **error)
{
    g_autofree char *url = g_strconcat(session->endpoint->base, path, NULL);
    g_auto(SlChallenge) challenge = { 0 };
    char *authorization;

    sl_challenge_parse(g_hash_table_lookup(reply->headers, "www-authenticate"), &challenge);
    authorization = sl_session_answer(session, &challenge, url, error);
    if (!authorization)
        return false;
    authorization_set(session, authorization);
    return true;
}

bool
sl_session_get(SlSession *session, const SlSessionGet *get, SlFetchReply *ret_reply, GError **error)
{
    g_autofree char *authorization = authorization_dup(session);
    g_auto(SlFetchReply) reply = { 0 };
    bool is_own = false;

    if (!get_following(session, get, authorization, &reply, &is_own, error))
        return false;
    /* A token may have expired; a plain login will not get better. A redirect's target is answered never. */
    if (reply.status == 401 && is_own && !session->is_basic) {
        if (!login_again(session, &reply, get->path, error))
            return false;
        g_free(authorization);
        authorization = authorization_dup(session);
        sl_fetch_reply_clear(&reply);
        if (!get_following(session, get, authorization, &reply, &is_own, error))
            return false;
    }
    *ret_reply = reply;
    reply = (SlFetchReply){ 0 };
    return true;
}

bool
sl_session_ping(SlSession *session, GError **error)
{
    const SlSessionGet get = { .path = "/v2/" };
    g_auto(SlFetchReply) reply = { 0 };
    bool is_own = false;

    if (!get_following(session, &get, NULL, &reply, &is_own, error))
        return false;
    if (reply.status == 401 && is_own)
        return login_again(session, &reply, "/v2/", error);
    /* A TLS server that is spoken to in plain HTTP says 400; proxies in front of nothing say 502 and the
     * like. */
    if (reply.status == 400 || reply.status >= 500)
        return sl_fail(error, SL_ERROR_SYSTEM, "Get \"%s/v2/\": received unexpected HTTP status: %u",
                       session->endpoint->base, reply.status);
    return true;
}
