/*
 * Manifests and indexes (Docker schema 2 and OCI) as data; no I/O. Everything is checked: a document that
 * could be read as two kinds (CVE-2021-41190), foreign layers, digests, sizes, counts.
 */
#pragma once

#include "common/error.h"
#include "oci/image.h"

#include <stddef.h>
#include <stdint.h>

#define SL_MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define SL_MEDIA_DOCKER_INDEX    "application/vnd.docker.distribution.manifest.list.v2+json"
#define SL_MEDIA_OCI_MANIFEST    "application/vnd.oci.image.manifest.v1+json"
#define SL_MEDIA_OCI_INDEX       "application/vnd.oci.image.index.v1+json"
#define SL_MEDIA_OCI_CONFIG      "application/vnd.oci.image.config.v1+json"
#define SL_MEDIA_OCI_LAYER       "application/vnd.oci.image.layer.v1.tar"

enum {
    SL_MANIFEST_MAX_BYTES = 4 * 1024 * 1024,
    SL_CONFIG_MAX_BYTES = 4 * 1024 * 1024,
    SL_MANIFEST_MAX_LAYERS = 127, /* Docker's "max depth exceeded" */
    SL_INDEX_MAX_ENTRIES = 1024,
};

typedef struct SlDescriptor {
    char *media_type;
    char *digest;
    int64_t size;
    SlPlatform platform; /* of an index's entry */
    char *name;          /* of an index's entry: what its annotations call the image; NULL: nothing */
} SlDescriptor;

typedef struct SlManifest {
    bool is_index;
    SlDescriptor *config; /* NULL in an index */
    GPtrArray *entries;   /* of SlDescriptor *: layers, bottom first, or manifests */
} SlManifest;

void sl_manifest_free(SlManifest *manifest);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlManifest, sl_manifest_free)

/* content_type: the HTTP header's, NULL when there was none. It must not contradict the document. Errors:
 * SL_ERROR_INVALID naming what is wrong. */
SlManifest *sl_manifest_parse(const char *text, size_t n, const char *content_type, GError **error);

/* The entry of an index for wanted; borrowed. Errors: SL_ERROR_NOT_FOUND "no matching manifest for linux/arm
 * in the manifest list entries". */
const SlDescriptor *sl_manifest_choose(const SlManifest *index, const SlPlatform *wanted, GError **error);
