#include "oci/registry_internal.h"

#include <string.h>

#include "common/json_fields.h"
#include "oci/document.h"

enum {
    MAX_AUTH_BYTES = 64 * 1024,
    MAX_TOKEN_BYTES = 1024 * 1024,
};

void
sl_registry_auth_clear(SlRegistryAuth *auth)
{
    g_free(auth->username);
    g_free(auth->password);
    g_free(auth->identity_token);
    g_free(auth->registry_token);
    *auth = (SlRegistryAuth){ 0 };
}

/* Either alphabet, with or without padding; NULL when it is neither. Caller frees. */
static char *
base64_decode(const char *text, size_t *ret_n)
{
    g_autofree char *plain = g_strdelimit(g_strdelimit(g_strdup(text), "-", '+'), "_", '/');
    size_t n = strcspn(plain, "=");
    g_autofree char *padded = NULL;
    char *data;

    if (strspn(plain, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") != n ||
        strspn(plain + n, "=") != strlen(plain + n) || n % 4 == 1)
        return NULL;
    plain[n] = '\0';
    padded = g_strconcat(plain, n % 4 == 2 ? "==" : n % 4 == 3 ? "=" : "", NULL);
    data = (char *)g_base64_decode(padded, ret_n);
    data = g_realloc(data, *ret_n + 1);
    data[*ret_n] = '\0';
    return data;
}

/* Some clients send "auth" (base64 of user:password) in place of the two. */
static void
auth_split(const char *encoded, SlRegistryAuth *auth)
{
    size_t n = 0;
    g_autofree char *text = base64_decode(encoded, &n);
    char *colon = text ? strchr(text, ':') : NULL;

    if (!colon || strlen(text) != n)
        return;
    *colon = '\0';
    auth->username = g_strdup(text);
    auth->password = g_strdup(colon + 1);
}

static char *
text_or_null(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));

    return text && *text ? g_strdup(text) : NULL;
}

bool
sl_registry_auth_parse(const char *header, SlRegistryAuth *ret_auth, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(json_t) json = NULL;
    const char *encoded;
    size_t n = 0;

    if (!header || !*header)
        return true;
    if (strlen(header) <= MAX_AUTH_BYTES)
        text = base64_decode(header, &n);
    if (text && n > 0)
        json = sl_document_parse(text, n, "X-Registry-Auth", NULL);
    if (!json)
        return sl_fail(error, SL_ERROR_INVALID, "invalid X-Registry-Auth header");

    ret_auth->username = text_or_null(json, "username");
    ret_auth->password = text_or_null(json, "password");
    ret_auth->identity_token = text_or_null(json, "identitytoken");
    ret_auth->registry_token = text_or_null(json, "registrytoken");
    encoded = json_string_value(json_object_get(json, "auth"));
    if (!ret_auth->username && encoded && *encoded)
        auth_split(encoded, ret_auth);
    return true;
}

/* ---- challenges ---- */

void
sl_challenge_clear(SlChallenge *challenge)
{
    g_free(challenge->realm);
    g_free(challenge->service);
    *challenge = (SlChallenge){ 0 };
}

/* A token or a quoted string; moves *at behind it. Caller frees. */
static char *
word_read(const char **at)
{
    GString *word = g_string_new(NULL);
    size_t n;

    if (**at != '"') {
        n = strcspn(*at, " \t,=\"");
        g_string_append_len(word, *at, (gssize)n);
        *at += n;
        return g_string_free(word, FALSE);
    }
    for ((*at)++; **at && **at != '"'; (*at)++) {
        if (**at == '\\' && (*at)[1])
            (*at)++;
        g_string_append_c(word, **at);
    }
    *at += **at == '"';
    return g_string_free(word, FALSE);
}

static void
parameter_keep(SlChallenge *challenge, const char *key, char *value)
{
    char **member = g_ascii_strcasecmp(key, "realm") == 0     ? &challenge->realm
                    : g_ascii_strcasecmp(key, "service") == 0 ? &challenge->service
                                                              : NULL;

    if (member && !*member)
        *member = value;
    else
        g_free(value);
}

void
sl_challenge_parse(const char *header, SlChallenge *ret_challenge)
{
    bool is_bearer = false;

    *ret_challenge = (SlChallenge){ 0 };
    while (header && *header) {
        g_autofree char *word = NULL;
        const char *before;

        header += strspn(header, " \t,");
        before = header;
        word = word_read(&header);
        if (*header == '=') {
            header++;
            if (is_bearer)
                parameter_keep(ret_challenge, word, word_read(&header));
            else
                g_free(word_read(&header));
            continue;
        }
        is_bearer = g_ascii_strcasecmp(word, "Bearer") == 0;
        ret_challenge->is_bearer |= is_bearer;
        ret_challenge->is_basic |= g_ascii_strcasecmp(word, "Basic") == 0;
        header += header == before && *header; /* what is no word must not hold us up */
    }
}

/* ---- what errors say ---- */

static json_t *
first_error(const SlFetchReply *reply, json_t **ret_root)
{
    *ret_root = reply->body ? json_loadb(reply->body, reply->n_body, 0, NULL) : NULL;
    return json_array_get(json_object_get(*ret_root, "errors"), 0);
}

char *
sl_registry_code(const SlFetchReply *reply)
{
    json_t *root = NULL;
    const char *code = json_string_value(json_object_get(first_error(reply, &root), "code"));
    char *copy = g_strdup(code);

    json_decref(root);
    return copy;
}

char *
sl_registry_words(const SlFetchReply *reply)
{
    json_t *root = NULL;
    const json_t *item = first_error(reply, &root);
    const char *code = json_string_value(json_object_get(item, "code"));
    const char *message = json_string_value(json_object_get(item, "message"));
    const char *details = json_string_value(json_object_get(root, "details"));
    char *words = NULL;

    if (code) {
        g_autofree char *lower = g_strdelimit(g_ascii_strdown(code, -1), "_", ' ');

        words = g_strdup_printf("%s: %s", lower, message && *message ? message : lower);
    } else if (details) {
        words = g_strdup(details);
    }
    json_decref(root);
    return words;
}

/* ---- tokens ---- */

static char *
basic_value(const SlRegistryAuth *auth)
{
    g_autofree char *pair = g_strconcat(auth->username, ":", auth->password ? auth->password : "", NULL);
    g_autofree char *encoded = g_base64_encode((const guchar *)pair, strlen(pair));

    return g_strconcat("Basic ", encoded, NULL);
}

static void
form_add(GString *form, const char *key, const char *value)
{
    g_autofree char *escaped = value ? g_uri_escape_string(value, NULL, FALSE) : NULL;

    if (escaped)
        g_string_append_printf(form, "%s%s=%s", form->len ? "&" : "", key, escaped);
}

static char *
token_read(const SlFetchReply *reply, const char *realm, GError **error)
{
    g_autofree char *words = NULL;
    g_autoptr(json_t) json = NULL;
    char *token;

    if (reply->status < 200 || reply->status > 299) {
        words = sl_registry_words(reply);
        sl_fail(error, reply->status == 401 || reply->status == 403 ? SL_ERROR_UNAUTHORIZED : SL_ERROR_SYSTEM,
                "Get \"%s\": %s", realm,
                words                  ? words
                : reply->status == 401 ? "unauthorized: incorrect username or password"
                                       : "no token was given");
        return NULL;
    }
    json = sl_document_parse(reply->body, reply->n_body, "registry token", error);
    if (!json)
        return NULL;
    token = text_or_null(json, "token");
    if (!token)
        token = text_or_null(json, "access_token");
    if (!token)
        sl_fail(error, SL_ERROR_SYSTEM, "authorization server did not include a token in the response");
    return token;
}

/* Asks the realm for a token: OAuth2 with an identity token, else GET with the login. */
static char *
token_fetch(SlSession *session, const SlChallenge *challenge, GError **error)
{
    const SlRegistryAuth *auth = session->auth;
    bool is_oauth = auth && auth->identity_token;
    g_autofree char *basic = auth && !is_oauth && auth->username ? basic_value(auth) : NULL;
    const char *headers[] = { basic ? "Authorization" : NULL, basic, NULL };
    const char *form_headers[] = { "Content-Type", "application/x-www-form-urlencoded", NULL };
    g_autoptr(GString) form = g_string_new(NULL);
    g_autofree char *url = NULL;
    g_auto(SlFetchReply) reply = { 0 };
    SlFetch fetch = { .max_body = MAX_TOKEN_BYTES };

    form_add(form, "service", challenge->service);
    form_add(form, "scope", session->scope);
    if (is_oauth) {
        form_add(form, "grant_type", "refresh_token");
        form_add(form, "refresh_token", auth->identity_token);
        form_add(form, "client_id", "sockerless");
    }
    url = is_oauth || form->len == 0
              ? g_strdup(challenge->realm)
              : g_strconcat(challenge->realm, strchr(challenge->realm, '?') ? "&" : "?", form->str, NULL);
    fetch.method = is_oauth ? "POST" : "GET";
    fetch.url = url;
    fetch.headers = is_oauth ? form_headers : headers;
    fetch.body = is_oauth ? form->str : NULL;
    fetch.n_body = is_oauth ? form->len : 0;
    if (!sl_registry_fetch(session->registry, session->cancel, session->endpoint, &fetch, &reply, error))
        return NULL;
    return token_read(&reply, challenge->realm, error);
}

char *
sl_session_answer(SlSession *session, const SlChallenge *challenge, const char *url, GError **error)
{
    const SlRegistryAuth *auth = session->auth;
    g_autofree char *token = NULL;

    if (challenge->is_bearer && auth && auth->registry_token)
        return g_strconcat("Bearer ", auth->registry_token, NULL);
    if (challenge->is_bearer && challenge->realm) {
        /* The realm is the registry's word: it gets the login only where a registry's own host could have
         * been. */
        if (!sl_registry_url_check(session->registry, session->endpoint, challenge->realm, error))
            return NULL;
        token = token_fetch(session, challenge, error);
        return token ? g_strconcat("Bearer ", token, NULL) : NULL;
    }
    if (challenge->is_basic && auth && auth->username) {
        session->is_basic = true;
        return basic_value(auth);
    }
    sl_fail(error, SL_ERROR_UNAUTHORIZED, "Get \"%s\": %s", url,
            challenge->is_basic ? "no basic auth credentials"
                                : "unauthorized: the registry asks for an unknown kind of login");
    return NULL;
}
