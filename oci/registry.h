/*
 * The registry client: pull over the distribution API (v2). Docker Hub naming, bearer and basic auth,
 * mirrors, insecure registries, indexes chosen by platform, digests verified while streaming.
 *
 * Credentials go to the registry they were given for and its token realm's host only by the rules of SECURITY
 * row 7: never across a redirect to another host, never to a foreign layer URL; link-local and metadata
 * addresses are refused always.
 */
#pragma once

#include "common/cancel.h"
#include "net/fetch.h"
#include "oci/content.h"
#include "oci/image.h"
#include "oci/reference.h"

typedef struct SlRegistryConfig {
    char **mirrors;  /* URLs tried before docker.io, in order; may be NULL */
    char **insecure; /* hosts (with port) or CIDR blocks that may be plain HTTP or have any certificate;
                        loopback addresses always may */
} SlRegistryConfig;

typedef struct SlRegistryAuth {
    char *username, *password;
    char *identity_token;
    char *registry_token;
} SlRegistryAuth;
void sl_registry_auth_clear(SlRegistryAuth *auth);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SlRegistryAuth, sl_registry_auth_clear)
/* X-Registry-Auth: base64url (with or without padding, standard alphabet too) of JSON; NULL, "" and "e30="
 * are no login. */
bool sl_registry_auth_parse(const char *header, SlRegistryAuth *ret_auth, GError **error);

typedef struct SlRegistry SlRegistry;
/* fetcher is borrowed and must outlive it. */
SlRegistry *sl_registry_new(const SlRegistryConfig *config, SlFetcher *fetcher);
void sl_registry_free(SlRegistry *registry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlRegistry, sl_registry_free)

/* Docker's progress: id is the 12-digit layer id or NULL; total 0 when there is none. On the caller's thread
 * or a worker's, one at a time. */
typedef void (*SlPullProgress)(void *user, const char *id, const char *status, int64_t current,
                               int64_t total);

/*
 * Fetches manifest, config and layers that content does not have yet (up to three at once).
 * ret_manifest_digest: the platform's own manifest, ret_index_digest: what the tag resolved to (the same
 * without an index); caller frees. Errors, in Docker's words: SL_ERROR_NOT_FOUND "manifest for X not found:
 * manifest unknown: manifest unknown", "pull access denied for X, repository does not exist or may require
 * 'docker login'", SL_ERROR_UNAUTHORIZED, SL_ERROR_UNAVAILABLE (the registry cannot be reached: connect or
 * name failure, and only then), SL_ERROR_SYSTEM.
 */
bool sl_registry_pull(SlRegistry *registry, SlCancel *cancel, const SlReference *reference,
                      const SlRegistryAuth *auth, const SlPlatform *platform, SlContent *content,
                      SlPullProgress progress, void *user, char **ret_manifest_digest,
                      char **ret_index_digest, GError **error);
/* `docker login`: asks /v2/ with the credentials. server: host or URL as Docker's clients send it
 * ("https://index.docker.io/v1/"). */
bool sl_registry_login(SlRegistry *registry, SlCancel *cancel, const char *server, const SlRegistryAuth *auth,
                       GError **error);
