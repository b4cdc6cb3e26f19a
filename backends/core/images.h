/*
 * The engine's images: what is there, under which names, and how it comes and goes (DESIGN §8).
 *
 * Image records and tags are kept in the store (kinds "image": id, "tag": familiar reference) and, for
 * readers, in memory behind one lock that is never held across I/O. Blobs are in the content store; unpacked
 * images below rootfs_folder. Any thread, unless said otherwise.
 *
 * The built-in image sockerless/base (DESIGN §6a) is always there, unless it is off; it is not in the store.
 * For `alpine` and `busybox` it stands in when, and only when, no registry can be reached: after a pull that
 * failed so, creates of that name get it, with a warning, and inspects of that name stay 404.
 */
#pragma once

#include "backends/core/store.h"
#include "common/cancel.h"
#include "net/http_server.h"
#include "oci/content.h"
#include "oci/image.h"
#include "oci/registry.h"
#include "oci/tar_stream.h"

#include <jansson.h>

typedef struct SlImages SlImages;

typedef enum SlBuiltinImages { SL_BUILTIN_AUTO, SL_BUILTIN_ALWAYS, SL_BUILTIN_OFF } SlBuiltinImages;

#define SL_BASE_IMAGE_REFERENCE "sockerless/base:latest"

typedef struct SlImagesConfig {
    SlStore *store; /* borrowed, as all here; they must outlive the SlImages */
    SlContent *content;
    SlRegistry *registry;
    const char *rootfs_folder; /* NULL: images are not unpacked on this machine */
    const char *base_tar;      /* NULL: no built-in image */
    SlBuiltinImages builtin;
    /* A container that uses the image: its short id (g_free), a running one first; NULL: none. Called without
     * locks held that a lookup here needs. May be NULL. */
    char *(*find_user)(void *user, const char *image_id, bool *ret_is_running);
    /* Event of type "image": action "pull", "tag", "untag", "delete", "load", "save", "prune"; actor is the reference or the id ("" of a prune);
     * attributes are taken. Called without locks held. May be NULL. */
    void (*emit)(void *user, const char *action, const char *actor, json_t *attributes);
    void *user;
} SlImagesConfig;

/* config is copied; its strings need not stay. */
SlImages *sl_images_open(const SlImagesConfig *config, GError **error);
void sl_images_close(SlImages *images);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlImages, sl_images_close)

/* "auto", "always", "off". */
bool sl_builtin_images_parse(const char *text, SlBuiltinImages *ret_mode);

/* What was known of an image at one moment; the caller's own. */
typedef struct SlImageRecord {
    char *id;              /* sha256:… */
    char *manifest_digest; /* of the platform's manifest, in the content store */
    GStrv repo_tags;       /* familiar, sorted; may be empty */
    GStrv repo_digests;    /* "alpine@sha256:…" */
    char *parent;          /* or "" */
    json_t *config; /* the whole config document; config.config has Env, Cmd, …; shared, so never changed */
    char *architecture, *os, *variant;
    int64_t created_ns, tagged_ns;
    int64_t size; /* uncompressed, once it was unpacked; until then of its blobs */
    bool is_base; /* sockerless/base */
} SlImageRecord;
void sl_image_record_free(SlImageRecord *record);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlImageRecord, sl_image_record_free)

/* The "config" member of the config document (Env, Cmd, Entrypoint, WorkingDir, User, Labels, ExposedPorts,
 * Volumes, StopSignal, Healthcheck …); borrowed; NULL when it has none. Member types were checked when the
 * image came in. */
const json_t *sl_image_record_config(const SlImageRecord *record);

/* Looks an image up by name, name:tag, name@digest, id, "sha256:"id, or unique id prefix. Errors:
 * SL_ERROR_NOT_FOUND "No such image: NAME:TAG"; SL_ERROR_INVALID for what is no reference. */
SlImageRecord *sl_images_resolve(SlImages *images, const char *reference, GError **error);
/* The same for a container's create: falls back to sockerless/base for alpine and busybox as above;
 * ret_warning then is a sentence (g_free), else NULL. The image then stays until sl_images_create_done: find_user knows
 * its container by then, or there is none. */
SlImageRecord *sl_images_resolve_for_create(SlImages *images, const char *reference, char **ret_warning,
                                            GError **error);

void sl_images_create_done(SlImages *images, const SlImageRecord *record);

/* The unpacked image's folder, made when it is not there; caller frees. Several threads may ask at once.
 * Errors: SL_ERROR_UNSUPPORTED without a rootfs_folder. */
bool sl_images_rootfs(SlImages *images, SlCancel *cancel, const SlImageRecord *record, char **ret_path,
                      GError **error);

/* The image with all its layers' sizes; caller frees. */
SlImage *sl_images_read(SlImages *images, SlCancel *cancel, const SlImageRecord *record, GError **error);

/* How many images there are (`docker info`). */
unsigned sl_images_count(SlImages *images);
/* All of them, newest first; caller frees (owns its elements, SlImageRecord *). */
GPtrArray *sl_images_list(SlImages *images);

/*
 * Fetches an image and tags it as reference says (a reference without tag and digest means :latest).
 * progress: Docker's lines (oci/registry.h), and, before the first blob, "Pulling from NAME" with the tag as
 * id; at the end the lines "Digest: …" and "Status: …" without id.
 *
 * Errors: as sl_registry_pull. Where the built-in image stands in, it is success, and a line says so.
 */
bool sl_images_pull(SlImages *images, SlCancel *cancel, const char *reference, const SlRegistryAuth *auth,
                    const SlPlatform *platform, SlPullProgress progress, void *user, GError **error);

/* Gives source (as for sl_images_resolve) another name. A tag that was another image's moves. Errors:
 * SL_ERROR_NOT_FOUND; SL_ERROR_INVALID "invalid reference format", a digest, the built-in image's own name.
 */
bool sl_images_tag(SlImages *images, const char *source, const char *target, GError **error);
/* ret_lines: a list of {"Untagged": …} and {"Deleted": …}. Errors: SL_ERROR_NOT_FOUND, SL_ERROR_CONFLICT in
 * Docker's words. */
bool sl_images_remove(SlImages *images, const char *reference, bool force, json_t **ret_lines,
                      GError **error);
/* Removes images without a name (all: also those with one) that no container uses and filters allow
 * (dangling, label, until). ret_report: {"ImagesDeleted": […], "SpaceReclaimed": n}. */
bool sl_images_prune(SlImages *images, const char *filters, json_t **ret_report, GError **error);

/* What load, save and import say: progress lines as of a pull, and sentences (id NULL). */
typedef void (*SlImagesSay)(void *user, const char *line);

/* Takes every image of a docker-archive or OCI layout in, with its names; all of them or none. say: Docker's
 * sentences, "Loaded image: alpine:3". Errors: SL_ERROR_INVALID, TOO_LARGE: what the archive is wrong with. */
bool sl_images_load(SlImages *images, SlCancel *cancel, const SlTarSource *source, const SlPlatform *platform,
                    SlPullProgress progress, SlImagesSay say, void *user, GError **error);

/* Images that are to be saved, looked up before the first byte is written. */
typedef struct SlImagesSaved SlImagesSaved;
/* names: as the client asks for them; one without a tag means all tags of that repository. Errors: as
 * sl_images_resolve. */
SlImagesSaved *sl_images_save_open(SlImages *images, SlCancel *cancel, const char *const *names,
                                   GError **error);
/* Writes a tar that is docker-archive and OCI layout in one. */
bool sl_images_save_write(SlImagesSaved *saved, SlCancel *cancel,
                          bool (*write)(void *user, const void *data, size_t n, GError **error), void *user,
                          GError **error);
void sl_images_save_close(SlImagesSaved *saved);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlImagesSaved, sl_images_save_close)

/* While blobs are written that no image has yet, nothing is swept: from before the first to after sl_images_add.
 * is_garbage_left: there are some that no image will have. */
void sl_images_hold(SlImages *images);
void sl_images_release(SlImages *images, bool is_garbage_left);
/* Removes what a crash left, blobs and folders. Once containers are known. */
void sl_images_sweep(SlImages *images);
/* A container was removed: the files of its image go, if only it still needed them. */
void sl_images_user_gone(SlImages *images, const char *image_id);

/* An image whose blobs are in the content store already (load, commit, build): its record, without a name. */
SlImageRecord *sl_images_add(SlImages *images, const char *manifest_digest, const char *parent,
                             GError **error);

/* The images of the core that serves call; core.c. */
SlImages *sl_core_images(SlCall *call);
/* /internal/v1/images/… */
extern const SlRoute sl_image_routes[];
