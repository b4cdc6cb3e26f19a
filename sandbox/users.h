/*
 * Who the guest is. When the sandbox runs as the host's root, the kernel enforces it. As an ordinary user
 * nothing can be enforced, and it is arithmetic: the guest's numbers are our own, and the host user's files
 * look like the guest's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandbox/sandbox.h"

enum { SL_MAX_GROUPS = 64 };

typedef struct SlUser {
    uint32_t uid, gid;
    uint32_t groups[SL_MAX_GROUPS];
    int n_groups;
} SlUser;

/* "UID:GID[,GID…]" */
bool sl_user_parse(const char *text, SlUser *ret_user);

/* Becomes user for good; false sets errno. */
bool sl_users_start(const SlUser *user);
bool sl_users_are_enforced(void);

/* Owner of a host file as the guest sees it. */
uint32_t sl_users_shown_uid(uid_t uid);
uint32_t sl_users_shown_gid(gid_t gid);

/* Enters the effective user in the table. */
void sl_users_publish(SlSandboxProcess *process);
