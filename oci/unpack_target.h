/*
 * The folder that a layer is unpacked into: every path below it, resolved so that nothing leaves it. Inside
 * oci/.
 *
 * Names from the archive are cleaned first (sl_unpack_clean), parents are opened with
 * openat2(RESOLVE_IN_ROOT), and the last component is never followed.
 */
#pragma once

#include "oci/tar_stream.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

typedef struct SlUnpackTarget {
    int root_fd;
    bool is_root; /* owners and setuid bits can be kept */
    SlUnpackBudget *budget;
    SlCancel *cancel;
    GHashTable *made;     /* inodes that this layer made or named: an opaque whiteout keeps them */
    GPtrArray *dir_times; /* set last, since making entries changes them */
    char *parent_path;    /* the parent that is open; NULL: none */
    int parent_fd;
    int root_depth;
} SlUnpackTarget;

bool sl_unpack_target_open(SlUnpackTarget *target, int folder_fd, SlUnpackBudget *budget, SlCancel *cancel,
                           GError **error);
void sl_unpack_target_clear(SlUnpackTarget *target);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SlUnpackTarget, sl_unpack_target_clear)
/* Sets the times of folders. Once, after the last entry. */
bool sl_unpack_target_finish(SlUnpackTarget *target, GError **error);

/* name without leading, double and trailing slashes and "."; "" is the folder itself. Errors:
 * SL_ERROR_INVALID for "..", nothing, too long or too deep. Caller frees. */
char *sl_unpack_clean(const char *name, GError **error);

/* Opens the folder that holds path (clean, not ""), made with mode 0755 when it is missing. ret_fd is
 * borrowed until the next call; ret_base points into path. */
bool sl_unpack_parent(SlUnpackTarget *target, const char *path, int *ret_fd, const char **ret_base,
                      GError **error);
/* Removes what is at parent/base, whole. Success when there is nothing. */
bool sl_unpack_remove(SlUnpackTarget *target, int parent_fd, const char *base, GError **error);
/* An opaque whiteout: removes what lower layers put into the folder. */
bool sl_unpack_make_opaque(SlUnpackTarget *target, int folder_fd, GError **error);
/* Notes that this layer made the entry. */
void sl_unpack_note(SlUnpackTarget *target, const struct stat *status);
void sl_unpack_note_dir_time(SlUnpackTarget *target, const char *path, const struct timespec *mtime);
