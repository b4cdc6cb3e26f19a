/*
 * Images as a tar that is docker-archive and OCI layout in one, as Docker 25 writes it and every Docker since 1.10 reads it:
 * blobs/sha256/… with uncompressed layers, manifest.json, index.json, oci-layout, repositories. The same images make
 * the same bytes.
 */
#pragma once

#include "common/cancel.h"
#include "oci/content.h"
#include "oci/image.h"

typedef struct SlSavedImage {
    SlImage *image; /* its layers' sizes must be known */
    GStrv names;    /* familiar references with tags; may be empty */
} SlSavedImage;
void sl_saved_image_free(SlSavedImage *saved);

/* images: of SlSavedImage *. Errors: SL_ERROR_SYSTEM for a blob that is damaged, those of write. */
bool sl_tar_save(SlContent *content, const GPtrArray *images, SlCancel *cancel,
                 bool (*write)(void *user, const void *data, size_t n, GError **error), void *user,
                 GError **error);
