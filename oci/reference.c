#include "oci/reference.h"

#include <fnmatch.h>
#include <string.h>

static const char default_domain[] = "docker.io";
static const char legacy_domain[] = "index.docker.io";
static const char official_prefix[] = "library/";

enum {
    NAME_MAX_CHARS = 255,
    TAG_MAX_CHARS = 128,
    REFERENCE_MAX_CHARS = 1024, /* more than name, tag and digest can have together */
};

static bool
is_lower_alnum(char c)
{
    return g_ascii_islower(c) || g_ascii_isdigit(c);
}

/* Characters of text up to n that are a separator between the words of a path component: ".", "_", "__" or
 * dashes. 0: none. */
static size_t
separator_length(const char *text, size_t n)
{
    size_t dashes = 0;

    if (n == 0)
        return 0;
    if (text[0] == '.')
        return 1;
    if (text[0] == '_')
        return n > 1 && text[1] == '_' ? 2 : 1;
    while (dashes < n && text[dashes] == '-')
        dashes++;
    return dashes;
}

static bool
component_is_valid(const char *text, size_t n)
{
    size_t at = 0;

    for (;;) {
        size_t word = at;
        size_t separator;

        while (at < n && is_lower_alnum(text[at]))
            at++;
        if (at == word)
            return false;
        if (at == n)
            return true;
        separator = separator_length(text + at, n - at);
        if (separator == 0)
            return false;
        at += separator;
    }
}

static bool
path_is_valid(const char *path)
{
    for (;;) {
        size_t n = strcspn(path, "/");

        if (!component_is_valid(path, n))
            return false;
        if (path[n] == '\0')
            return true;
        path += n + 1;
    }
}

static bool
host_is_valid(const char *host, size_t n)
{
    size_t start = 0;

    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        for (size_t i = 1; i + 1 < n; i++)
            if (!g_ascii_isxdigit(host[i]) && host[i] != ':')
                return false;
        return true;
    }
    for (size_t i = 0; i <= n; i++) {
        if (i == n || host[i] == '.') {
            if (i == start || host[start] == '-' || host[i - 1] == '-')
                return false;
            start = i + 1;
        } else if (!g_ascii_isalnum(host[i]) && host[i] != '-') {
            return false;
        }
    }
    return true;
}

static bool
domain_is_valid(const char *domain)
{
    const char *port = strrchr(domain, ':');
    size_t n_host;

    if (domain[0] == '[' && port && strchr(port, ']'))
        port = NULL;
    n_host = port ? (size_t)(port - domain) : strlen(domain);
    if (!host_is_valid(domain, n_host))
        return false;
    return !port || (port[1] != '\0' && strspn(port + 1, "0123456789") == strlen(port + 1));
}

static bool
tag_is_valid(const char *tag)
{
    size_t n = strlen(tag);

    if (n == 0 || n > TAG_MAX_CHARS || tag[0] == '.' || tag[0] == '-')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!g_ascii_isalnum(tag[i]) && !strchr("_.-", tag[i]))
            return false;
    return true;
}

bool
sl_digest_is_valid(const char *text)
{
    if (!text || !g_str_has_prefix(text, "sha256:"))
        return false;
    text += strlen("sha256:");
    return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static bool
digest_check(const char *digest, GError **error)
{
    const char *colon = strchr(digest, ':');

    if (sl_digest_is_valid(digest))
        return true;
    if (colon && colon != digest && strlen(colon + 1) >= 32 && g_ascii_isalpha(digest[0]) &&
        !g_str_has_prefix(digest, "sha256:"))
        return sl_fail(error, SL_ERROR_INVALID, "unsupported digest algorithm");
    return sl_fail(error, SL_ERROR_INVALID, "invalid reference format");
}

/* Docker's rule: what stands before the first slash is a host only when it looks like one. */
static bool
is_domain(const char *text, size_t n)
{
    if (n == strlen("localhost") && strncmp(text, "localhost", n) == 0)
        return true;
    for (size_t i = 0; i < n; i++)
        if (strchr(".:[", text[i]))
            return true;
    return false;
}

static void
domain_split(const char *text, char **ret_domain, char **ret_rest)
{
    const char *slash = strchr(text, '/');
    bool has_domain = slash && is_domain(text, (size_t)(slash - text));

    *ret_domain = has_domain ? g_strndup(text, (gsize)(slash - text)) : g_strdup(default_domain);
    *ret_rest = g_strdup(has_domain ? slash + 1 : text);
    if (strcmp(*ret_domain, legacy_domain) == 0) {
        g_free(*ret_domain);
        *ret_domain = g_strdup(default_domain);
    }
    if (strcmp(*ret_domain, default_domain) == 0 && !strchr(*ret_rest, '/')) {
        char *official = g_strconcat(official_prefix, *ret_rest, NULL);

        g_free(*ret_rest);
        *ret_rest = official;
    }
}

/* Cuts "@digest" and ":tag" off rest, which then is the path. */
static bool
suffixes_cut(char *rest, SlReference *reference, GError **error)
{
    char *at = strchr(rest, '@');
    char *colon;

    if (at) {
        *at = '\0';
        if (!digest_check(at + 1, error))
            return false;
        reference->digest = g_strdup(at + 1);
    }
    colon = strrchr(rest, ':');
    if (colon && !strchr(colon, '/')) {
        *colon = '\0';
        if (!tag_is_valid(colon + 1))
            return sl_fail(error, SL_ERROR_INVALID, "invalid reference format");
        reference->tag = g_strdup(colon + 1);
    }
    return true;
}

static bool
name_check(const SlReference *reference, GError **error)
{
    g_autofree char *lower = g_ascii_strdown(reference->path, -1);

    if (strcmp(lower, reference->path) != 0 && path_is_valid(lower))
        return sl_fail(error, SL_ERROR_INVALID,
                       "invalid reference format: repository name must be lowercase");
    if (!domain_is_valid(reference->domain) || !path_is_valid(reference->path))
        return sl_fail(error, SL_ERROR_INVALID, "invalid reference format");
    if (strlen(reference->domain) + 1 + strlen(reference->path) > NAME_MAX_CHARS)
        return sl_fail(error, SL_ERROR_INVALID, "repository name must not be more than %d characters",
                       NAME_MAX_CHARS);
    return true;
}

bool
sl_reference_parse(const char *text, bool default_tag, SlReference *ret_reference, GError **error)
{
    g_auto(SlReference) reference = { 0 };
    g_autofree char *rest = NULL;

    if (strlen(text) > REFERENCE_MAX_CHARS)
        return sl_fail(error, SL_ERROR_INVALID, "invalid reference format");
    if (strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64)
        return sl_fail(error, SL_ERROR_INVALID,
                       "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", text);

    domain_split(text, &reference.domain, &rest);
    if (!suffixes_cut(rest, &reference, error))
        return false;
    reference.path = g_steal_pointer(&rest);
    if (!name_check(&reference, error))
        return false;
    if (default_tag && !reference.tag && !reference.digest)
        reference.tag = g_strdup("latest");

    *ret_reference = reference;
    reference = (SlReference){ 0 };
    return true;
}

void
sl_reference_clear(SlReference *reference)
{
    g_free(reference->domain);
    g_free(reference->path);
    g_free(reference->tag);
    g_free(reference->digest);
    *reference = (SlReference){ 0 };
}

static char *
with_suffixes(const char *name, const SlReference *reference)
{
    return g_strconcat(name, reference->tag ? ":" : "", reference->tag ? reference->tag : "",
                       reference->digest ? "@" : "", reference->digest ? reference->digest : "", NULL);
}

char *
sl_reference_name(const SlReference *reference)
{
    return g_strconcat(reference->domain, "/", reference->path, NULL);
}

char *
sl_reference_familiar_name(const SlReference *reference)
{
    const char *path = reference->path;

    if (strcmp(reference->domain, default_domain) != 0)
        return sl_reference_name(reference);
    /* "library/a/b" keeps its prefix: without it, it would name another repository. */
    if (g_str_has_prefix(path, official_prefix) && !strchr(path + strlen(official_prefix), '/'))
        path += strlen(official_prefix);
    return g_strdup(path);
}

char *
sl_reference_format(const SlReference *reference)
{
    g_autofree char *name = sl_reference_name(reference);

    return with_suffixes(name, reference);
}

char *
sl_reference_familiar(const SlReference *reference)
{
    g_autofree char *name = sl_reference_familiar_name(reference);

    return with_suffixes(name, reference);
}

bool
sl_reference_matches(const SlReference *reference, const char *pattern)
{
    g_autofree char *name = sl_reference_familiar_name(reference);
    g_autofree char *full = with_suffixes(name, reference);

    if (strlen(pattern) > REFERENCE_MAX_CHARS)
        return false;
    return fnmatch(pattern, full, FNM_PATHNAME) == 0 || fnmatch(pattern, name, FNM_PATHNAME) == 0;
}
