#include "oci/content.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/failpoint.h"
#include "common/fd.h"
#include "oci/digest.h"
#include "oci/reference.h"

static const char ingest_name[] = "ingest";

struct SlContent {
    char *folder;
    int blobs_fd;  /* blobs/sha256 */
    int ingest_fd; /* ingest: what is being written */
    atomic_uint_fast64_t next;
};

struct SlBlobWriter {
    SlContent *content;
    SlDigester *digester;
    char *name; /* in ingest */
    int fd;
    int64_t n;
};

static int
folder_open(int parent_fd, const char *name, GError **error)
{
    int fd;

    if (mkdirat(parent_fd, name, 0700) < 0 && errno != EEXIST) {
        sl_fail_errno(error, errno, "creating folder %s", name);
        return -1;
    }
    fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        sl_fail_errno(error, errno, "opening folder %s", name);
    return fd;
}

static bool
folders_open(SlContent *content, GError **error)
{
    sl_autofd int root_fd = -1;
    sl_autofd int algorithms_fd = -1;

    if (!sl_folder_make(content->folder, 0700, error))
        return false;
    root_fd = open(content->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return sl_fail_errno(error, errno, "opening folder %s", content->folder);
    if (!sl_tree_remove(root_fd, ingest_name, error))
        return false;
    algorithms_fd = folder_open(root_fd, "blobs", error);
    if (algorithms_fd < 0)
        return false;
    content->blobs_fd = folder_open(algorithms_fd, "sha256", error);
    if (content->blobs_fd < 0)
        return false;
    content->ingest_fd = folder_open(root_fd, ingest_name, error);
    return content->ingest_fd >= 0;
}

SlContent *
sl_content_open(const char *folder, GError **error)
{
    g_autoptr(SlContent) content = g_new0(SlContent, 1);

    content->folder = g_strdup(folder);
    content->blobs_fd = -1;
    content->ingest_fd = -1;
    if (!folders_open(content, error))
        return NULL;
    return g_steal_pointer(&content);
}

void
sl_content_close(SlContent *content)
{
    if (!content)
        return;
    sl_fd_clear(&content->blobs_fd);
    sl_fd_clear(&content->ingest_fd);
    g_free(content->folder);
    g_free(content);
}

const char *
sl_content_folder(SlContent *content)
{
    return content->folder;
}

bool
sl_content_has(SlContent *content, const char *digest)
{
    struct stat status;

    return sl_digest_is_valid(digest) &&
           fstatat(content->blobs_fd, sl_digest_hex(digest), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(status.st_mode);
}

int
sl_content_open_blob(SlContent *content, const char *digest, GError **error)
{
    int fd;

    if (!sl_digest_is_valid(digest)) {
        sl_fail(error, SL_ERROR_INVALID, "invalid digest: %s", digest ? digest : "");
        return -1;
    }
    fd = openat(content->blobs_fd, sl_digest_hex(digest), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    if (errno == ENOENT)
        sl_fail(error, SL_ERROR_NOT_FOUND, "blob %s is not in the content store", digest);
    else
        sl_fail_errno(error, errno, "opening blob %s", digest);
    return -1;
}

bool
sl_content_read(SlContent *content, const char *digest, size_t max, char **ret_data, size_t *ret_n,
                GError **error)
{
    sl_autofd int fd = sl_content_open_blob(content, digest, error);
    g_autofree char *data = NULL;
    g_autofree char *found = NULL;
    struct stat status;
    size_t n;

    if (fd < 0)
        return false;
    if (fstat(fd, &status) < 0)
        return sl_fail_errno(error, errno, "reading blob %s", digest);
    n = (size_t)status.st_size;
    if (n > max)
        return sl_fail(error, SL_ERROR_TOO_LARGE, "blob %s is larger than %zu bytes", digest, max);

    data = g_malloc(n + 1);
    if (!sl_fd_read_at(fd, data, n, 0, digest, error))
        return false;
    data[n] = '\0';
    found = sl_digest_of(data, n);
    if (strcmp(found, digest) != 0)
        return sl_fail(error, SL_ERROR_SYSTEM, "blob %s is damaged on disk: its content has digest %s",
                       digest, found);

    *ret_data = g_steal_pointer(&data);
    if (ret_n)
        *ret_n = n;
    return true;
}

bool
sl_content_remove(SlContent *content, const char *digest, GError **error)
{
    if (!sl_digest_is_valid(digest))
        return sl_fail(error, SL_ERROR_INVALID, "invalid digest: %s", digest ? digest : "");
    if (unlinkat(content->blobs_fd, sl_digest_hex(digest), 0) < 0 && errno != ENOENT)
        return sl_fail_errno(error, errno, "removing blob %s", digest);
    return true;
}

bool
sl_content_sweep(SlContent *content, bool (*is_needed)(void *user, const char *digest), void *user,
                 GError **error)
{
    int copy = openat(content->blobs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    bool ok = true;

    if (!dir) {
        sl_fail_errno(error, errno, "listing the blobs in %s", content->folder);
        sl_fd_clear(&copy);
        return false;
    }
    for (struct dirent *entry; ok && (entry = readdir(dir));) {
        g_autofree char *digest = g_strconcat("sha256:", entry->d_name, NULL);

        ok = !sl_digest_is_valid(digest) || is_needed(user, digest) ||
             sl_content_remove(content, digest, error);
    }
    closedir(dir);
    return ok;
}

SlBlobWriter *
sl_blob_writer_new(SlContent *content, GError **error)
{
    g_autoptr(SlBlobWriter) writer = g_new0(SlBlobWriter, 1);

    writer->content = content;
    writer->name = g_strdup_printf("%" G_GUINT64_FORMAT, (guint64)atomic_fetch_add(&content->next, 1));
    writer->fd = openat(content->ingest_fd, writer->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (writer->fd < 0) {
        sl_fail_errno(error, errno, "creating a blob in %s", content->folder);
        return NULL;
    }
    writer->digester = sl_digester_new();
    return g_steal_pointer(&writer);
}

bool
sl_blob_writer_write(SlBlobWriter *writer, const void *data, size_t n, GError **error)
{
    if (!sl_fd_write_all(writer->fd, data, n, "a blob", error))
        return false;
    sl_digester_update(writer->digester, data, n);
    writer->n += (int64_t)n;
    return true;
}

static bool
is_whole(SlContent *content, const char *digest, int64_t n)
{
    struct stat status;

    return fstatat(content->blobs_fd, sl_digest_hex(digest), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           status.st_size == n;
}

bool
sl_blob_writer_commit(SlBlobWriter *writer, const char *expected_digest, int64_t expected_size,
                      char **ret_digest, GError **error)
{
    SlContent *content = writer->content;
    g_autofree char *digest = sl_digester_finish(writer->digester);

    if (expected_size >= 0 && writer->n != expected_size)
        return sl_fail(error, SL_ERROR_SYSTEM,
                       "size validation failed: expected %" G_GINT64_FORMAT " bytes, got %" G_GINT64_FORMAT,
                       expected_size, writer->n);
    if (expected_digest && strcmp(expected_digest, digest) != 0)
        return sl_fail(error, SL_ERROR_SYSTEM, "filesystem layer verification failed for digest %s: got %s",
                       expected_digest, digest);
    if (is_whole(content, digest, writer->n)) {
        if (ret_digest)
            *ret_digest = g_steal_pointer(&digest);
        return true; /* the temporary file goes with the writer */
    }
    if (!sl_failpoint("content.blob.written") || fsync(writer->fd) < 0)
        return sl_fail_errno(error, errno, "writing blob %s", digest);
    if (!sl_failpoint("content.blob.synced") ||
        renameat(content->ingest_fd, writer->name, content->blobs_fd, sl_digest_hex(digest)) < 0)
        return sl_fail_errno(error, errno, "storing blob %s", digest);

    g_clear_pointer(&writer->name, g_free);
    if (!sl_failpoint("content.blob.stored"))
        return sl_fail_errno(error, errno, "storing blob %s", digest);
    if (ret_digest)
        *ret_digest = g_steal_pointer(&digest);
    return true;
}

void
sl_blob_writer_free(SlBlobWriter *writer)
{
    if (!writer)
        return;
    if (writer->name && writer->fd >= 0)
        unlinkat(writer->content->ingest_fd, writer->name, 0);
    sl_fd_clear(&writer->fd);
    sl_digester_free(writer->digester);
    g_free(writer->name);
    g_free(writer);
}

bool
sl_content_put(SlContent *content, const void *data, size_t n, char **ret_digest, GError **error)
{
    g_autoptr(SlBlobWriter) writer = sl_blob_writer_new(content, error);

    return writer && sl_blob_writer_write(writer, data, n, error) &&
           sl_blob_writer_commit(writer, NULL, -1, ret_digest, error);
}
