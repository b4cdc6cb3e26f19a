/*
 * The guest's names. Every lookup of a file goes through openat2() beneath the root's descriptor without
 * following symlinks; a path that has symlinks or ".." is made canonical first, step by step, with the
 * guest's own rules. So no path leads out of the root, whoever renames what meanwhile.
 *
 * /dev and /proc are trees of our own (SlTree), laid over the root like mounts.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* A tree that is not files: what the guest sees at prefix. inside is the rest of the path, "" or "/…". */
typedef struct SlTree {
    const char *prefix;
    /* A descriptor for the guest, or -errno. */
    int (*open)(const char *inside, int flags);
    int (*stat)(const char *inside, struct stat *ret_stat);
    /* What the symlink there holds, NUL-terminated: true. False: no symlink. */
    bool (*link)(const char *inside, char *to, size_t size);
    /* Whether the link is one by name only (/proc/PID/fd/1), so that opening it must not follow its text. */
    bool (*is_magic)(const char *inside);
    /* Whether the tree has such a name. When it has not, and falls_through, the root's own files count. */
    bool (*has)(const char *inside);
    bool falls_through;
} SlTree;

/* Where a path led when it is not a file of the root. */
typedef struct SlPlace {
    const SlTree *tree; /* NULL: a file */
    char inside[PATH_MAX];
} SlPlace;

enum { SL_IN_TREE = -100000 }; /* instead of -errno: see ret_place */

/* dir is opened as the root; false sets errno. */
bool sl_paths_start(const char *dir);
int sl_paths_root_fd(void);

const char *sl_path_cwd(void);
/* A directory that the guest may enter; 0 or -errno. */
int sl_path_set_cwd(const char *absolute);

/* path as seen from the folder dirfd (AT_FDCWD: the current one), not yet resolved. */
int sl_path_absolute(int32_t dirfd, const char *path, char ret[PATH_MAX]);
/* Without symlinks (the last one only if follow_last), "." and "..". What does not exist may be last only. */
int sl_path_canonical(const char *absolute, bool follow_last, char ret[PATH_MAX]);

/*
 * Opens for the host: a descriptor, perhaps above the guest's; -errno; or SL_IN_TREE and *ret_place. flags
 * are Linux', O_CLOEXEC is the caller's business.
 */
int sl_path_open(const char *absolute, int flags, uint32_t mode, SlPlace *ret_place);

/* A program for reading, symlinks followed: a descriptor or -errno, -EACCES for what is not a file. */
int sl_path_open_program(const char *absolute);

/* The folder that holds the last name, O_PATH, and that name; for making, removing and renaming. -EBUSY at a
 * tree. */
int sl_path_open_parent(const char *absolute, char ret_name[NAME_MAX + 1]);

/* The guest path of an open folder, or -errno. */
int sl_path_of_folder(int fd, char ret[PATH_MAX]);
/* The guest path of any open file of the root as far as it still has one; false: outside or nameless. */
bool sl_path_of_file(int fd, char ret[PATH_MAX]);
