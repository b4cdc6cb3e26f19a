/* Descriptors: scope-bound closing, whole reads and writes, small files. */
#pragma once

#include "common/error.h"

#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

static inline int
sl_fd_steal(int *fd)
{
    int stolen = *fd;

    *fd = -1;
    return stolen;
}

static inline void
sl_fd_clear(int *fd)
{
    if (*fd >= 0)
        close(sl_fd_steal(fd));
}

/* sl_autofd int fd = -1; closes at the end of the scope. */
#define sl_autofd __attribute__((cleanup(sl_fd_clear)))

/* Writes all n bytes to a blocking descriptor. what names the file in the error. */
bool sl_fd_write_all(int fd, const void *data, size_t n, const char *what, GError **error);
/* Reads exactly n bytes at offset. A short file is an error. */
bool sl_fd_read_at(int fd, void *data, size_t n, off_t offset, const char *what, GError **error);

/* Replaces folder/name whole: temporary file, fsync, rename. mode as for open. */
bool sl_file_replace(int folder_fd, const char *name, const void *data, size_t n, mode_t mode,
                     GError **error);
/* Removes a folder and all below it without following links or leaving it. One that is not there is success. */
bool sl_tree_remove(int parent_fd, const char *name, GError **error);
/* mkdir -p with mode for what it makes. */
bool sl_folder_make(const char *path, mode_t mode, GError **error);

/* A sockaddr_un for a socket in an open folder: "/proc/self/fd/N/name", so that the length of the folder's path does not matter. */
struct sockaddr_un;
void sl_unix_address_at(int folder_fd, const char *name, struct sockaddr_un *ret_address);
