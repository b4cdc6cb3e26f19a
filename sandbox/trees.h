/* /dev and /proc, and the snapshots they are read from. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "sandbox/paths.h"

extern const SlTree sl_dev_tree;
extern const SlTree sl_proc_tree;

/* At start, before the lockdown: the container's terminal, if descriptor 0, 1 or 2 is one, is /dev/pts/0. */
void sl_dev_start(void);
bool sl_dev_has_terminal(void);
/* The guest's name of a device or terminal behind fd, or false. */
bool sl_dev_name(int fd, char *to, size_t size);
/* Number of the guest's pts behind the master fd, or -errno. */
int sl_dev_pts_number(int fd);

/*
 * A snapshot is a file in memory that holds what a name in a tree said when it was opened. A folder's
 * snapshot holds directory entries as getdents64 gives them; its name in the kernel is its guest path.
 */
int sl_snapshot_file(const char *path, const char *text, size_t length);
int sl_snapshot_folder(const char *path, const char *const *names, size_t n_names);
bool sl_snapshot_folder_path(int fd, char ret[PATH_MAX]);
/* Like getdents64, for a folder's snapshot; -ENOTDIR for anything else. */
int sl_snapshot_entries(int fd, void *to, size_t size);
/* What fstat says of a snapshot; false: none. */
bool sl_snapshot_stat(int fd, struct stat *status);

/* For the trees' stat: a name that is not a file anywhere. */
void sl_tree_stat(struct stat *ret_stat, mode_t mode, const char *path);
