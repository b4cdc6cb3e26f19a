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
    int64_t max_bytes; /* uncompressed, all layers; 0: 64 GiB */
    int64_t max_files; /* 0: 2,000,000 */
} SlUnpackLimits;

/* Unpacks all layers of image into rootfs_folder/<hex>, checking each diff_id; temporary folder + rename, so
 * a folder that is there is whole. Success at once when it is. Several threads may ask for one image: one
 * works, the others wait. ret_path: caller frees; ret_bytes: uncompressed size (kept beside the folder). */
bool sl_rootfs_prepare(SlContent *content, const SlImage *image, const char *rootfs_folder,
                       const SlUnpackLimits *limits, SlCancel *cancel, char **ret_path, int64_t *ret_bytes,
                       GError **error);
/* A tar stream (plain, gzip, zstd, xz, bzip2; read from fd) into the open folder, as a layer: the piece used
 * above. ret_diff_id: digest of the uncompressed tar; may be NULL. */
bool sl_unpack_layer(int tar_fd, int folder_fd, const SlUnpackLimits *limits, SlCancel *cancel,
                     char **ret_diff_id, int64_t *ret_bytes, GError **error);
/* Copies a whole tree (the last resort for a container's root filesystem): reflinks where the filesystem can,
 * modes, times, links, and as root owners kept. */
bool sl_tree_copy(int from_folder_fd, int to_folder_fd, SlCancel *cancel, GError **error);
