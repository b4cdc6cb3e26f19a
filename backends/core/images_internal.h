/* What the files of images share. Inside backends/core/images*.c. */
#pragma once

#include "backends/core/images.h"
#include "common/thread.h"
#include "oci/reference.h"
#include "oci/unpack.h"

/* An image in the index. Everything but tags is fixed or changed under SlImages.lock. */
typedef struct ImageEntry {
    SlImage *image; /* never changes */
    char *parent;
    GPtrArray *repo_digests; /* "alpine@sha256:…" */
    int64_t size;
    int64_t tagged_ns;
    bool is_base;
} ImageEntry;

/* Creates of containers: between an image's lookup and the container's publishing nobody else knows of its use. */
typedef struct ImageUses {
    unsigned n_creating;
    uint64_t n_begun;
} ImageUses;

struct SlImages {
    SlImagesConfig config;
    char *rootfs_folder; /* config's strings, kept */
    char *base_id;       /* NULL: no built-in image */

    /* Writers, one at a time, over their commits; taken before lock. Readers never wait for it, so the rule
     * against I/O under a lock is bent here alone. */
    pthread_mutex_t changing;
    unsigned n_holds;  /* under changing: while one counts on blobs that no image has yet, none is swept */
    bool is_sweep_due; /* under changing: the last hold's end sweeps */
    bool is_damaged;   /* a record could not be read: its blobs are not known, so nothing is swept */

    pthread_mutex_t lock;
    GHashTable *by_id;       /* id → ImageEntry, owned */
    GHashTable *tags;        /* "alpine:3" → id */
    GHashTable *uses;        /* id → ImageUses */
    GHashTable *unreachable; /* "alpine:3": a pull of it found no registry */
};

/* ---- with lock held ---- */
ImageEntry *images_entry(SlImages *images, const char *id);
SlImageRecord *images_snapshot(SlImages *images, const ImageEntry *entry);
/* Familiar tags of an image, sorted; caller frees. */
GStrv images_tags_of(SlImages *images, const char *id);

/* ---- with changing held ---- */
/* Stores an entry and tags of it (NULL-ended, may be NULL), then shows them. entry is taken on success. */
bool images_publish(SlImages *images, ImageEntry *entry, const char *const *tags, GError **error);
/* A copy to change and publish. Lock must not be held. NULL: no such image. */
ImageEntry *images_entry_copy(SlImages *images, const char *id);
/* Removes blobs and unpacked folders that nobody needs; while there are holds, it is put off. */
void images_sweep(SlImages *images);
/* Removes the image's unpacked folder when nobody needs it. */
void images_rootfs_release(SlImages *images, const char *id);

/* ---- creates ---- */
/* With lock held: an image is being used from now on. */
void images_use_begin(SlImages *images, const char *id);
/* How many uses have begun: asked before users are looked for, */
uint64_t images_uses_begun(SlImages *images, const char *id);
/* and with lock held afterwards: whether one may have been missed. */
bool images_use_began(SlImages *images, const char *id, uint64_t n_begun);

ImageEntry *images_entry_new(SlImage *image /* taken */);
void images_entry_free(ImageEntry *entry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImageEntry, images_entry_free)

/* What is known of its layers' sizes; lock held when one of them is shared. */
void images_sizes_copy(const SlImage *from, SlImage *to);
bool images_sizes_are_known(const SlImage *image);
/* The document of an entry in the store; caller frees. */
char *images_entry_document(const ImageEntry *entry);
/* Unpacks, where images are unpacked, and sets the sizes; a layer that is not what it says is an error. watch may be
 * NULL. */
bool images_unpack(SlImages *images, SlImage *image, const SlUnpackWatch *watch, SlCancel *cancel,
                   char **ret_path, GError **error);

/* Of two char *, for sorting. */
int images_compare_text(const void *a, const void *b);

/* Emits with the attributes that Docker gives: name and the image's labels. */
void images_emit(SlImages *images, const char *action, const char *actor, const char *name,
                 const json_t *config);
/* Whether the built-in image may stand in for reference: alpine and busybox by tag. */
bool images_base_stands_in(SlImages *images, const SlReference *reference);
/* A container uses it. */
bool images_is_used(SlImages *images, const char *id);
