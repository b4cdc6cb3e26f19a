/* What the registry client's files share. Inside oci/. */
#pragma once

#include "common/thread.h"
#include "oci/registry.h"

struct SlRegistry {
    GStrv mirrors, insecure;
    SlFetcher *fetcher; /* borrowed */

    pthread_mutex_t lock; /* of what follows */
    GHashTable *flights;  /* digest → Flight: blobs on their way (registry_blob.c) */
};

/* One way to reach a registry. */
typedef struct SlEndpoint {
    char *base;       /* "https://registry-1.docker.io", without a slash at its end */
    bool is_insecure; /* any certificate will do, and plain HTTP too */
    bool is_loopback;
    bool is_private; /* within a network of its own: it may lead to others there */
    bool is_mirror;
} SlEndpoint;
void sl_endpoint_free(SlEndpoint *endpoint);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlEndpoint, sl_endpoint_free)
/* Of SlEndpoint *, in the order to try; caller frees. */
GPtrArray *sl_registry_endpoints(SlRegistry *registry, const char *domain);

/* ---- addresses: registry_guard.c ---- */
typedef struct SlHostFacts {
    bool is_loopback;  /* all of its addresses are */
    bool is_forbidden; /* one of them is link-local, a cloud's metadata service, multicast, unspecified */
    bool is_private;   /* one of them is of a private network */
    bool is_listed;    /* named in the list, or within one of its CIDR blocks */
} SlHostFacts;
/* Looks host up (blocks). A name that cannot be looked up has no facts: the connection will say so. */
void sl_host_examine(const char *host, int port, char *const *list, SlHostFacts *ret_facts);
/* Refuses URLs that credentials or requests must not go to. endpoint: the registry that led us there. Errors:
 * SL_ERROR_FORBIDDEN. */
bool sl_registry_url_check(SlRegistry *registry, const SlEndpoint *endpoint, const char *url, GError **error);
/* The same of an address that is being connected to for url, whatever its name meant when it was looked up before. */
bool sl_registry_address_check(SlRegistry *registry, const SlEndpoint *endpoint, const char *url,
                               const char *address, GError **error);
/* Whether TLS to url need not be checked: the endpoint is insecure, and url is at its host, on this machine, or listed. */
bool sl_registry_url_is_insecure(SlRegistry *registry, const SlEndpoint *endpoint, const char *url);
/* sl_fetch within the rules above. */
bool sl_registry_fetch(SlRegistry *registry, SlCancel *cancel, const SlEndpoint *endpoint, SlFetch *fetch,
                       SlFetchReply *ret_reply, GError **error);
/* scheme://host:port of a URL; NULL for what is none. Caller frees. */
char *sl_url_origin(const char *url);

/* ---- one registry, one repository, one login: registry_session.c ---- */
typedef struct SlSession {
    SlRegistry *registry;
    SlCancel *cancel;
    const SlEndpoint *endpoint;
    const SlRegistryAuth *auth; /* NULL: anonymous */
    char *scope;                /* "repository:library/alpine:pull" or NULL */
    bool is_basic;              /* the login was sent as it is */

    pthread_mutex_t lock;
    char *authorization; /* the header's value; NULL: none yet */
} SlSession;
void sl_session_init(SlSession *session, SlRegistry *registry, SlCancel *cancel, const SlEndpoint *endpoint,
                     const SlRegistryAuth *auth, const char *scope);
void sl_session_clear(SlSession *session);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SlSession, sl_session_clear)

typedef struct SlSessionGet {
    const char *path;   /* "/v2/…" */
    const char *accept; /* may be NULL */
    int64_t offset;     /* > 0: asks for the rest from there */
    bool (*sink)(void *user, const void *data, size_t n, GError **error);
    void *sink_user;
    size_t max_body;
} SlSessionGet;
/* GET with login and redirects. True for any status that is left over. Errors: of sl_fetch,
 * SL_ERROR_UNAUTHORIZED, FORBIDDEN. */
bool sl_session_get(SlSession *session, const SlSessionGet *get, SlFetchReply *ret_reply, GError **error);
/* GET /v2/: is it there, and who must we be? Errors: SL_ERROR_UNAVAILABLE and those of the login. */
bool sl_session_ping(SlSession *session, GError **error);

/* ---- logins: registry_auth.c ---- */
typedef struct SlChallenge {
    bool is_bearer, is_basic;
    char *realm, *service; /* of bearer */
} SlChallenge;
void sl_challenge_clear(SlChallenge *challenge);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SlChallenge, sl_challenge_clear)
/* A WWW-Authenticate header, several challenges in one too. */
void sl_challenge_parse(const char *header, SlChallenge *ret_challenge);
/* The Authorization value that answers challenge; NULL on error. url is for the sentence. Caller frees. */
char *sl_session_answer(SlSession *session, const SlChallenge *challenge, const char *url, GError **error);
/* What a registry's error body says, as Docker words it: "manifest unknown: manifest unknown"; NULL when it
 * says nothing. Caller frees. */
char *sl_registry_words(const SlFetchReply *reply);
/* Of an error body: its first code ("DENIED"), or NULL. Caller frees. */
char *sl_registry_code(const SlFetchReply *reply);

/* ---- registry_blob.c ---- */
typedef struct SlBlobFetch {
    SlSession *session;
    SlContent *content;
    const char *repository; /* "library/alpine" */
    const char *digest;
    int64_t size;
    void (*progress)(void *user, int64_t current); /* may be NULL */
    void (*retry)(void *user, int wait_ms);        /* it broke off; may be NULL */
    bool (*go_on)(void *user);                     /* false ends it; may be NULL */
    void *user;
} SlBlobFetch;
/* Fetches a blob, verified while it streams; a broken connection is resumed. Several who want one blob for one store share a
 * download; when the one who does it leaves, another goes on where it was. Errors: SL_ERROR_SYSTEM, NOT_FOUND,
 * CANCELLED, FORBIDDEN. */
bool sl_blob_fetch(const SlBlobFetch *fetch, GError **error);
/* The table of SlRegistry. */
GHashTable *sl_blob_flights_new(void);
