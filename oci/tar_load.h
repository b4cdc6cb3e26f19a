/*
 * Archives of images: docker-archive (`docker save`) and OCI layouts, into the content store.
 *
 * Nothing is unpacked: every file becomes a blob, and its name is only a key to look it up by. So no name can lead
 * anywhere, and what the archive calls a digest is one only when its content has it.
 */
#pragma once

#include "common/cancel.h"
#include "oci/content.h"
#include "oci/image.h"
#include "oci/tar_stream.h"
#include "oci/unpack.h"

typedef struct SlLoadedImage {
    char *manifest_digest; /* stored, with config and layers; sl_image_load has accepted it */
    GStrv names;           /* familiar references with tags; may be empty */
} SlLoadedImage;

/* Reads the archive (gzip, zstd, xz, bzip2 or plain) to its end. ret_images: of SlLoadedImage *, at least one; caller
 * frees. platform NULL: this machine's; chooses where an entry is an index. Layers are not read yet: their diff_ids are
 * checked by whoever unpacks them. What was stored and is of no image is for the store's next sweep, after an error too.
 * Errors: SL_ERROR_INVALID, TOO_LARGE, CANCELLED, SYSTEM, the source's own. */
bool sl_tar_load(SlContent *content, const SlTarSource *source, const SlPlatform *platform,
                 const SlUnpackLimits *limits, SlCancel *cancel, GPtrArray **ret_images, GError **error);
