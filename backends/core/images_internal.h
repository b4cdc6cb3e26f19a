/* What the files of images share. Inside backends/core/images*.c. */
#pragma once

#include "backends/core/images.h"
#include "common/thread.h"
#include "oci/reference.h"

/* An image in the index. Everything but tags is fixed or changed under SlImages.lock. */
typedef struct ImageEntry {
    SlImage *image; /* never changes */
    char *parent;
    GPtrArray *repo_digests; /* "alpine@sha256:…" */
    int64_t size;
    int64_t tagged_ns;
    bool is_base;
} ImageEntry;

struct SlImages {
    SlImagesConfig config;
    char *rootfs_folder; /* config's strings, kept */
    char *base_id;       /* NULL: no built-in image */

    /* Writers, one at a time, over their commits; taken before lock. Readers never wait for it, so the rule
     * against I/O under a lock is bent here alone. */
    pthread_mutex_t changing;
    unsigned n_pulls;    /* under changing: while one runs, no blob is removed, since it may count on it */
    GHashTable *garbage; /* under changing: digests that the last pull's end removes when nobody needs them */

    pthread_mutex_t lock;
    GHashTable *by_id;       /* id → ImageEntry, owned */
    GHashTable *tags;        /* "alpine:3" → id */
    GHashTable *unreachable; /* "alpine:3": a pull of it found no registry */
};

/* ---- with lock held ---- */
ImageEntry *images_entry(SlImages *images, const char *id);
SlImageRecord *images_snapshot(SlImages *images, const ImageEntry *entry);
/* Familiar tags of an image, sorted; caller frees. */
GStrv images_tags_of(SlImages *images, const char *id);

/* ---- with changing held ---- */
/* Stores an entry (and a tag of it, may be NULL), then shows it. entry is taken on success. */
bool images_publish(SlImages *images, ImageEntry *entry, const char *tag, GError **error);
/* A copy to change and publish. Lock must not be held. NULL: no such image. */
ImageEntry *images_entry_copy(SlImages *images, const char *id);
/* Removes blobs that no image needs; while a pull runs, it is put off. digests: of char *. */
void images_blobs_release(SlImages *images, GPtrArray *digests);

ImageEntry *images_entry_new(SlImage *image /* taken */);
void images_entry_free(ImageEntry *entry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImageEntry, images_entry_free)

/* Emits with the attributes that Docker gives: name and the image's labels. */
void images_emit(SlImages *images, const char *action, const char *actor, const char *name,
                 const json_t *config);
/* Whether the built-in image may stand in for reference: alpine and busybox by tag. */
bool images_base_stands_in(SlImages *images, const SlReference *reference);
/* A container uses it. */
bool images_is_used(SlImages *images, const char *id);
