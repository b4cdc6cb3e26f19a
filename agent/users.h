/* Users and groups of the container, from its own /etc/passwd and /etc/group. Never NSS: that would load the
 * image's libraries. */
#pragma once

#include "common/error.h"

#include <stdint.h>

typedef struct SlUser {
    uint32_t uid, gid;
    uint32_t *groups; /* supplementary; g_free */
    unsigned n_groups;
    char *home; /* never NULL */
} SlUser;

void sl_user_clear(SlUser *user);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SlUser, sl_user_clear)

/*
 * text: "", "name", "uid", each with ":group" or ":gid". "" is root. root_fd: the container's root folder; no
 * link leads out of it. Errors: SL_ERROR_INVALID in Docker's words: "unable to find user x: no matching
 * entries in passwd file".
 */
bool sl_user_resolve(int root_fd, const char *text, SlUser *ret_user, GError **error);
/* The name of uid, or its number; caller frees. */
char *sl_user_name(int root_fd, uint32_t uid);
