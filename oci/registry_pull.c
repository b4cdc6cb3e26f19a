#include "oci/registry_internal.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "oci/digest.h"
#include "oci/manifest.h"

enum {
    WORKERS = 3,
    PROGRESS_MS = 100, /* between two "Downloading" lines of a layer */
    SHORT_DIGITS = 12,
};

static const char accepted[] =
    SL_MEDIA_OCI_INDEX ", " SL_MEDIA_DOCKER_INDEX ", " SL_MEDIA_OCI_MANIFEST ", " SL_MEDIA_DOCKER_MANIFEST;

/* One pull from one endpoint. */
typedef struct Pull {
    SlSession session;
    const SlReference *reference;
    const SlPlatform *platform;
    SlContent *content;
    SlPullProgress progress;
    void *user;
    char *familiar, *familiar_name;

    pthread_mutex_t lock; /* of what follows, and of calls to progress */
    GPtrArray *missing;   /* of const SlDescriptor *: layers to fetch */
    guint next;
    GError *error; /* the first worker's; the others then stop */
} Pull;

static void
pull_clear(Pull *pull)
{
    sl_session_clear(&pull->session);
    g_free(pull->familiar);
    g_free(pull->familiar_name);
    g_clear_error(&pull->error);
    if (pull->missing)
        g_ptr_array_unref(pull->missing);
    pthread_mutex_destroy(&pull->lock);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pull, pull_clear)

static void
tell(Pull *pull, const char *id, const char *status, int64_t current, int64_t total)
{
    if (!pull->progress)
        return;
    SL_LOCK_GUARD(&pull->lock);
    pull->progress(pull->user, id, status, current, total);
}

static void
tell_layer(Pull *pull, const char *digest, const char *status, int64_t current, int64_t total)
{
    char id[SHORT_DIGITS + 1];

    snprintf(id, sizeof id, "%s", sl_digest_hex(digest));
    tell(pull, id, status, current, total);
}

/* ---- manifests ---- */

/* Docker's sentences; clients match on them. */
static bool
manifest_fail(const Pull *pull, const SlFetchReply *reply, GError **error)
{
    g_autofree char *words = sl_registry_words(reply);
    g_autofree char *code = sl_registry_code(reply);

    if (reply->status == 404)
        return sl_fail(error, SL_ERROR_NOT_FOUND,
                       "manifest for %s not found: manifest unknown: manifest unknown", pull->familiar);
    if (reply->status == 401 && pull->session.is_basic)
        return sl_fail(error, SL_ERROR_UNAUTHORIZED, "Get \"%s/v2/\": %s", pull->session.endpoint->base,
                       words ? words : "unauthorized: authentication required");
    if (reply->status == 401 || reply->status == 403 || g_strcmp0(code, "DENIED") == 0)
        return sl_fail(
            error, SL_ERROR_NOT_FOUND,
            "pull access denied for %s, repository does not exist or may require 'docker login': %s",
            pull->familiar_name, words ? words : "denied: requested access to the resource is denied");
    if (reply->status == 429)
        return sl_fail(error, SL_ERROR_SYSTEM, "%s",
                       words ? words : "toomanyrequests: the registry limits how often it may be asked");
    return sl_fail(error, SL_ERROR_SYSTEM, "received unexpected HTTP status: %u%s%s", reply->status,
                   words ? ": " : "", words ? words : "");
}

/* The bytes against every digest that was promised for them. */
static bool
manifest_verify(const SlFetchReply *reply, const char *expected, const char *found, GError **error)
{
    const char *header = g_hash_table_lookup(reply->headers, "docker-content-digest");

    if (expected && strcmp(expected, found) != 0)
        return sl_fail(error, SL_ERROR_SYSTEM, "manifest verification failed for digest %s: got %s", expected,
                       found);
    if (header && g_str_has_prefix(header, "sha256:") && strcmp(header, found) != 0)
        return sl_fail(error, SL_ERROR_SYSTEM,
                       "manifest verification failed: the registry says %s, but sent %s", header, found);
    return true;
}

/* Fetches, verifies and stores one manifest or index. which: a tag or a digest; size -1: not known. */
static SlManifest *
manifest_fetch(Pull *pull, const char *which, const char *expected, int64_t size, char **ret_digest,
               GError **error)
{
    g_autofree char *path = g_strdup_printf("/v2/%s/manifests/%s", pull->reference->path, which);
    const SlSessionGet get = { .path = path, .accept = accepted, .max_body = SL_MANIFEST_MAX_BYTES };
    g_auto(SlFetchReply) reply = { 0 };
    g_autoptr(SlManifest) manifest = NULL;
    g_autofree char *digest = NULL;

    if (!sl_session_get(&pull->session, &get, &reply, error))
        return NULL;
    if (reply.status != 200) {
        manifest_fail(pull, &reply, error);
        return NULL;
    }
    digest = sl_digest_of(reply.body, reply.n_body);
    if (!manifest_verify(&reply, expected, digest, error))
        return NULL;
    if (size >= 0 && (int64_t)reply.n_body != size) {
        sl_fail(error, SL_ERROR_SYSTEM,
                "size validation failed: manifest %s has %zu bytes, not %" G_GINT64_FORMAT, digest,
                reply.n_body, size);
        return NULL;
    }
    manifest = sl_manifest_parse(reply.body, reply.n_body, g_hash_table_lookup(reply.headers, "content-type"),
                                 error);
    if (!manifest || !sl_content_put(pull->content, reply.body, reply.n_body, NULL, error))
        return NULL;
    *ret_digest = g_steal_pointer(&digest);
    return g_steal_pointer(&manifest);
}

/* The platform's own manifest, through an index where there is one. */
static SlManifest *
manifest_resolve(Pull *pull, char **ret_manifest_digest, char **ret_index_digest, GError **error)
{
    const char *which = pull->reference->digest ? pull->reference->digest : pull->reference->tag;
    g_autofree char *index_digest = NULL;
    g_autofree char *manifest_digest = NULL;
    g_autoptr(SlManifest) manifest =
        manifest_fetch(pull, which, pull->reference->digest, -1, &index_digest, error);

    if (!manifest)
        return NULL;
    if (manifest->is_index) {
        g_auto(SlPlatform) host = { 0 };
        g_autoptr(SlManifest) chosen = NULL;
        const SlDescriptor *entry;

        sl_platform_host(&host);
        entry = sl_manifest_choose(manifest, pull->platform ? pull->platform : &host, error);
        chosen =
            entry ? manifest_fetch(pull, entry->digest, entry->digest, entry->size, &manifest_digest, error)
                  : NULL;
        if (!chosen)
            return NULL;
        if (chosen->is_index) {
            sl_fail(error, SL_ERROR_INVALID, "invalid manifest list: it holds another list");
            return NULL;
        }
        g_clear_pointer(&manifest, sl_manifest_free);
        manifest = g_steal_pointer(&chosen);
    } else {
        manifest_digest = g_strdup(index_digest);
    }
    *ret_manifest_digest = g_steal_pointer(&manifest_digest);
    *ret_index_digest = g_steal_pointer(&index_digest);
    return g_steal_pointer(&manifest);
}

/* ---- layers ---- */

/* One layer on its way, by one worker. */
typedef struct Layer {
    Pull *pull;
    const SlDescriptor *descriptor;
    int64_t told_ms;
} Layer;

static void
layer_progress(void *user, int64_t current)
{
    Layer *layer = user;
    int64_t now_ms = sl_clock_monotonic_ms();

    if (now_ms - layer->told_ms < PROGRESS_MS)
        return;
    layer->told_ms = now_ms;
    tell_layer(layer->pull, layer->descriptor->digest, "Downloading", current, layer->descriptor->size);
}

static void
layer_retry(void *user, int wait_ms)
{
    Layer *layer = user;
    int wait_s = (wait_ms + 999) / 1000;
    g_autofree char *status = g_strdup_printf("Retrying in %d second%s", wait_s, wait_s == 1 ? "" : "s");

    tell_layer(layer->pull, layer->descriptor->digest, status, 0, 0);
}

static bool
layer_go_on(void *user)
{
    Pull *pull = ((Layer *)user)->pull;

    SL_LOCK_GUARD(&pull->lock);
    return pull->error == NULL;
}

static bool
layer_fetch(Pull *pull, const SlDescriptor *descriptor, GError **error)
{
    Layer layer = { .pull = pull, .descriptor = descriptor };
    const SlBlobFetch fetch = {
        .session = &pull->session,
        .content = pull->content,
        .repository = pull->reference->path,
        .digest = descriptor->digest,
        .size = descriptor->size,
        .progress = layer_progress,
        .retry = layer_retry,
        .go_on = layer_go_on,
        .user = &layer,
    };

    if (!sl_blob_fetch(&fetch, error))
        return false;
    tell_layer(pull, descriptor->digest, "Verifying Checksum", 0, 0);
    tell_layer(pull, descriptor->digest, "Download complete", 0, 0);
    return true;
}

static const SlDescriptor *
layer_next(Pull *pull)
{
    SL_LOCK_GUARD(&pull->lock);
    return pull->error || pull->next >= pull->missing->len ? NULL : pull->missing->pdata[pull->next++];
}

static void
error_keep(Pull *pull, GError *error /* taken */)
{
    SL_LOCK_GUARD(&pull->lock);
    if (pull->error)
        g_error_free(error);
    else
        pull->error = error;
}

static void *
worker_run(void *data)
{
    Pull *pull = data;
    const SlDescriptor *descriptor;

    while ((descriptor = layer_next(pull))) {
        GError *error = NULL;

        if (!layer_fetch(pull, descriptor, &error))
            error_keep(pull, error);
    }
    return NULL;
}

static void
missing_find(Pull *pull, const SlManifest *manifest)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

    pull->missing = g_ptr_array_new();
    for (guint i = 0; i < manifest->entries->len; i++) {
        SlDescriptor *descriptor = manifest->entries->pdata[i];

        if (!g_hash_table_add(seen, descriptor->digest))
            continue;
        if (sl_content_has(pull->content, descriptor->digest)) {
            tell_layer(pull, descriptor->digest, "Already exists", 0, 0);
        } else {
            tell_layer(pull, descriptor->digest, "Pulling fs layer", 0, 0);
            g_ptr_array_add(pull->missing, descriptor);
        }
    }
    for (guint i = WORKERS; i < pull->missing->len; i++)
        tell_layer(pull, ((const SlDescriptor *)pull->missing->pdata[i])->digest, "Waiting", 0, 0);
}

/* This thread works too; more are started as they are needed and can be had. */
static bool
layers_fetch(Pull *pull, const SlManifest *manifest, GError **error)
{
    pthread_t threads[WORKERS - 1];
    guint n_threads = 0;

    missing_find(pull, manifest);
    while (n_threads < G_N_ELEMENTS(threads) && n_threads + 1 < pull->missing->len &&
           sl_thread_start("pull", worker_run, pull, &threads[n_threads], NULL))
        n_threads++;
    worker_run(pull);
    for (guint i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    if (!pull->error)
        return true;
    g_propagate_error(error, g_steal_pointer(&pull->error));
    return false;
}

static bool
config_fetch(Pull *pull, const SlDescriptor *config, GError **error)
{
    const SlBlobFetch fetch = {
        .session = &pull->session,
        .content = pull->content,
        .repository = pull->reference->path,
        .digest = config->digest,
        .size = config->size,
    };

    return sl_content_has(pull->content, config->digest) || sl_blob_fetch(&fetch, error);
}

/* ---- endpoints ---- */

static bool
pull_at(Pull *pull, char **ret_manifest_digest, char **ret_index_digest, GError **error)
{
    g_autofree char *from = NULL;
    g_autofree char *manifest_digest = NULL;
    g_autofree char *index_digest = NULL;
    g_autoptr(SlManifest) manifest = manifest_resolve(pull, &manifest_digest, &index_digest, error);

    if (!manifest)
        return false;
    from = g_strconcat("Pulling from ", pull->reference->path, NULL);
    tell(pull, pull->reference->digest ? pull->reference->digest : pull->reference->tag, from, 0, 0);
    if (!config_fetch(pull, manifest->config, error) || !layers_fetch(pull, manifest, error))
        return false;
    *ret_manifest_digest = g_steal_pointer(&manifest_digest);
    *ret_index_digest = g_steal_pointer(&index_digest);
    return true;
}

/* Connect and name failures: sl_fetch words them with "dial"; all else that cannot be reached (TLS, silence)
 * is an error of its own. */
static bool
is_out_of_reach(const GError *error)
{
    return g_error_matches(error, SL_ERROR, SL_ERROR_UNAVAILABLE) &&
           strstr(error->message, ": dial tcp") != NULL;
}

/* After the ping the registry has been reached, whatever happens. ret_is_final: no other endpoint can do
 * better. */
static bool
endpoint_pull(Pull *pull, char **ret_manifest_digest, char **ret_index_digest, bool *ret_is_final,
              GError **error)
{
    g_autoptr(GError) local = NULL;
    bool has_answered = sl_session_ping(&pull->session, &local);

    if (has_answered && pull_at(pull, ret_manifest_digest, ret_index_digest, &local))
        return true;
    *ret_is_final = !pull->session.endpoint->is_mirror && has_answered;
    if (!has_answered && (g_error_matches(local, SL_ERROR, SL_ERROR_UNAUTHORIZED) ||
                          g_error_matches(local, SL_ERROR, SL_ERROR_FORBIDDEN)))
        *ret_is_final = !pull->session.endpoint->is_mirror;
    *ret_is_final |= g_error_matches(local, SL_ERROR, SL_ERROR_CANCELLED);
    if (g_error_matches(local, SL_ERROR, SL_ERROR_UNAVAILABLE) && (has_answered || !is_out_of_reach(local)))
        local->code = SL_ERROR_SYSTEM;
    g_propagate_error(error, g_steal_pointer(&local));
    return false;
}

/* Of several failures the one to show: of the registry itself, and of plain HTTP's attempt where there were
 * two, as Docker does. */
static void
failure_keep(GError **kept, GError *failure /* taken */, const SlEndpoint *endpoint)
{
    bool is_better = !*kept || (!endpoint->is_mirror &&
                                !(endpoint->is_loopback && g_str_has_prefix(endpoint->base, "https:")));

    if (is_better) {
        g_clear_error(kept);
        *kept = failure;
    } else {
        g_error_free(failure);
    }
}

static void
pull_init(Pull *pull, const SlReference *reference, const SlPlatform *platform, SlContent *content,
          SlPullProgress progress, void *user)
{
    *pull = (Pull){
        .reference = reference, .platform = platform, .content = content, .progress = progress, .user = user
    };
    pull->familiar = sl_reference_familiar(reference);
    pull->familiar_name = sl_reference_familiar_name(reference);
    pthread_mutex_init(&pull->lock, NULL);
}

bool
sl_registry_pull(SlRegistry *registry, SlCancel *cancel, const SlReference *reference,
                 const SlRegistryAuth *auth, const SlPlatform *platform, SlContent *content,
                 SlPullProgress progress, void *user, char **ret_manifest_digest, char **ret_index_digest,
                 GError **error)
{
    g_autoptr(GPtrArray) endpoints = sl_registry_endpoints(registry, reference->domain);
    g_autofree char *scope = g_strdup_printf("repository:%s:pull", reference->path);
    GError *failure = NULL;
    bool is_final = false;

    for (guint i = 0; i < endpoints->len && !is_final; i++) {
        g_auto(Pull) pull = { 0 };
        GError *local = NULL;

        pull_init(&pull, reference, platform, content, progress, user);
        sl_session_init(&pull.session, registry, cancel, endpoints->pdata[i], auth, scope);
        if (endpoint_pull(&pull, ret_manifest_digest, ret_index_digest, &is_final, &local)) {
            g_clear_error(&failure);
            return true;
        }
        if (is_final)
            g_clear_error(&failure);
        failure_keep(&failure, local, endpoints->pdata[i]);
    }
    g_propagate_error(error, failure);
    return false;
}
