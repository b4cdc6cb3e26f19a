/*
 * Layers to folders. One folder an image (DESIGN §5 said one a layer; merged folders work alike as overlay
 * lower, in a user namespace, and for copies): ROOTFS/<hex of the image id>.
 *
 * Confined: every path goes through openat2(RESOLVE_IN_ROOT) below the destination; "..", absolute names,
 * links out, device nodes (kept out unless root), hard links across, whiteouts ("`.wh.`" and opaque) are
 * handled or refused; nothing is ever executed; gzip and zstd are decoded in process. Ownership is set as
 * root, ignored otherwise; setuid bits kept as root only.
 */
#pragma once

#include "common/cancel.h"
#include "oci/image.h"

typedef struct SlUnpackLimits {
    int64_t max_bytes;  /* uncompressed, all layers; 0: 64 GiB */
    int64_t max_files;  /* 0: 2,000,000 */
    int64_t free_bytes; /* of one archive that may unpack to any multiple of its size; 0: 1 GiB */
} SlUnpackLimits;

/* Told while layers are read, on the caller's thread: of image->layers[index], n_read of its size bytes so far. May be
 * NULL. */
typedef struct SlUnpackWatch {
    void (*progress)(void *user, const SlImageLayer *layer, int64_t n_read);
    void *user;
} SlUnpackWatch;

/* Unpacks all layers of image into rootfs_folder/<hex>, checking each diff_id; temporary folder + rename, so
 * a folder that is there is whole. Success at once when it is. Several threads may ask for one image: one
 * works, the others wait. Sets the sizes of image and its layers. ret_path: caller frees. */
bool sl_rootfs_prepare(SlContent *content, SlImage *image, const char *rootfs_folder,
                       const SlUnpackLimits *limits, const SlUnpackWatch *watch, SlCancel *cancel,
                       char **ret_path, GError **error);
/* Removes what the above made. Success when there is nothing. Nobody may be preparing the image. */
bool sl_rootfs_remove(const char *rootfs_folder, const char *image_id, GError **error);
/* Removes all that was made, whole or half, for images that is_needed knows not; nobody may be preparing those. */
bool sl_rootfs_sweep(const char *rootfs_folder, bool (*is_needed)(void *user, const char *image_id),
                     void *user, GError **error);
/* Reads all layers without unpacking: checks each diff_id, and sets the sizes of image and its layers. */
bool sl_image_measure(SlContent *content, SlImage *image, const SlUnpackLimits *limits,
                      const SlUnpackWatch *watch, SlCancel *cancel, GError **error);
/* A layer's uncompressed tar, in pieces. Errors: SL_ERROR_SYSTEM when it is not what its diff_id says. */
bool sl_layer_expand(SlContent *content, const SlImageLayer *layer, SlCancel *cancel,
                     bool (*sink)(void *user, const void *data, size_t n, GError **error), void *user,
                     GError **error);
/* A tar stream (plain, gzip, zstd, xz, bzip2; read from fd) into the open folder, as a layer: the piece used
 * above. ret_diff_id: digest of the uncompressed tar; may be NULL. */
bool sl_unpack_layer(int tar_fd, int folder_fd, const SlUnpackLimits *limits, SlCancel *cancel,
                     char **ret_diff_id, int64_t *ret_bytes, GError **error);
/* Copies a whole tree (the last resort for a container's root filesystem): reflinks where the filesystem can,
 * modes, times, links, and as root owners kept. */
bool sl_tree_copy(int from_folder_fd, int to_folder_fd, SlCancel *cancel, GError **error);
