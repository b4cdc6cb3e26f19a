/* An image as the engine knows it: its configuration blob (whose digest is the image id) and its layers. */
#pragma once

#include "oci/content.h"

#include <jansson.h>

typedef struct SlImageLayer {
    char *digest;                  /* of the blob as stored */
    char *diff_id;                 /* of the uncompressed tar; from the config, checked when unpacked */
    char *media_type;              /* tar, tar+gzip, tar+zstd */
    int64_t size;                  /* of the blob */
    int64_t tar_bytes, file_bytes; /* of its uncompressed tar, and of the files in it; -1: not known */
} SlImageLayer;

typedef struct SlImage {
    char *id;              /* "sha256:…" of the config blob */
    char *manifest_digest; /* what RepoDigests shows; NULL when it was never in a registry */
    json_t *config;    /* the whole config document (architecture, config {Env, Cmd, …}, rootfs, history) */
    GPtrArray *layers; /* of SlImageLayer *, bottom first */
    int64_t size;      /* of all layers' files, once they were read; until then the blobs' */
    char *architecture, *os, *variant;
    int64_t created_ns;
} SlImage;

void sl_image_free(SlImage *image);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlImage, sl_image_free)

/* Reads a manifest blob (Docker schema 2 or OCI; not an index) and its config from the store. Every field is
 * checked: foreign media types, layer counts that differ from rootfs.diff_ids, sizes, digests, depth. Errors:
 * SL_ERROR_INVALID naming what is wrong, SL_ERROR_NOT_FOUND for a missing blob. */
SlImage *sl_image_load(SlContent *content, const char *manifest_digest, GError **error);

/* Of every layer, bottom first, the digest of itself and all below it, as Docker tells them apart; caller frees (owns its
 * elements, char *). */
GPtrArray *sl_image_chain_ids(const SlImage *image);

/* A platform "os/arch[/variant]"; NULL fields match anything. */
typedef struct SlPlatform {
    char *os, *architecture, *variant;
} SlPlatform;
bool sl_platform_parse(const char *text, SlPlatform *ret_platform, GError **error);
void sl_platform_clear(SlPlatform *platform);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SlPlatform, sl_platform_clear)
/* This machine: linux/amd64 or linux/arm64. */
void sl_platform_host(SlPlatform *ret_platform);

/*
 * The built-in image (DESIGN §6a): makes manifest, config and layer blobs from the tar of the sandbox's
 * userland. Deterministic: the same tar gives the same id. ret_manifest_digest: caller frees. Its config: Cmd
 * ["/bin/sh"], Env PATH, label org.opencontainers.image.title=sockerless/base.
 */
bool sl_image_make_base(SlContent *content, const char *rootfs_tar, char **ret_manifest_digest,
                        GError **error);
