#include "oci/unpack_entry.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/xattr.h>

#include "common/fd.h"

static const char whiteout_prefix[] = ".wh.";
static const char whiteout_meta_prefix[] = ".wh..wh.";
static const char whiteout_opaque[] = ".wh..wh..opq";

/* Where the entry goes, and what it is. */
typedef struct Place {
    const char *path;
    int parent_fd;
    const char *base;
    struct archive_entry *entry;
} Place;

static mode_t
mode_of(const SlUnpackTarget *target, struct archive_entry *entry, mode_t always)
{
    mode_t mode = archive_entry_perm(entry) & 07777;

    /* Without root, setuid would give our own user away; and what we cannot read we cannot copy. */
    return target->is_root ? mode : (mode & 01777) | always;
}

static bool
owner_of(struct archive_entry *entry, uid_t *ret_uid, gid_t *ret_gid, GError **error)
{
    int64_t uid = archive_entry_uid(entry);
    int64_t gid = archive_entry_gid(entry);

    if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
        return sl_fail(error, SL_ERROR_INVALID, "invalid archive: an owner that is no user id");
    *ret_uid = (uid_t)uid;
    *ret_gid = (gid_t)gid;
    return true;
}

static struct timespec
mtime_of(struct archive_entry *entry)
{
    struct timespec mtime = { .tv_sec = archive_entry_mtime(entry),
                              .tv_nsec = archive_entry_mtime_nsec(entry) };

    if (mtime.tv_nsec < 0 || mtime.tv_nsec > 999999999)
        mtime.tv_nsec = 0;
    return mtime;
}

/* Capabilities of files (ping, newuidmap) and the user's own attributes; other namespaces are this machine's
 * business. */
static void
xattrs_set(const SlUnpackTarget *target, struct archive_entry *entry, int fd)
{
    const char *name;
    const void *value;
    size_t n;

    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &n) == ARCHIVE_OK)
        if (g_str_has_prefix(name, "user.") || (target->is_root && strcmp(name, "security.capability") == 0))
            /* Not every filesystem has them; an image without is still that image. */
            (void)fsetxattr(fd, name, value, n, 0);
}

/* Owner, mode, attributes: in this order, since a change of owner drops setuid bits and capabilities. */
static bool
attributes_set(const SlUnpackTarget *target, const Place *place, int fd, mode_t mode, GError **error)
{
    uid_t uid = 0;
    gid_t gid = 0;

    if (!owner_of(place->entry, &uid, &gid, error))
        return false;
    if (target->is_root && fchown(fd, uid, gid) < 0)
        return sl_fail_errno(error, errno, "setting the owner of %s", place->path);
    if (fchmod(fd, mode) < 0)
        return sl_fail_errno(error, errno, "setting the mode of %s", place->path);
    xattrs_set(target, place->entry, fd);
    return true;
}

static bool
note_made(SlUnpackTarget *target, const Place *place, GError **error)
{
    struct stat status;

    if (fstatat(place->parent_fd, place->base, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return sl_fail_errno(error, errno, "reading %s", place->path);
    sl_unpack_note(target, &status);
    return true;
}

/* Makes room for something new where it says EEXIST. */
static bool
make_room(SlUnpackTarget *target, const Place *place, GError **error)
{
    if (errno != EEXIST)
        return sl_fail(error, errno == ENAMETOOLONG ? SL_ERROR_INVALID : SL_ERROR_SYSTEM, "creating %s: %s",
                       place->path, g_strerror(errno));
    return sl_unpack_remove(target, place->parent_fd, place->base, error);
}

static bool
folder_make(SlUnpackTarget *target, const Place *place, GError **error)
{
    struct timespec mtime = mtime_of(place->entry);
    struct stat status;
    sl_autofd int fd = -1;

    if (mkdirat(place->parent_fd, place->base, 0700) < 0) {
        bool is_there = errno == EEXIST &&
                        fstatat(place->parent_fd, place->base, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                        S_ISDIR(status.st_mode);

        if (!is_there) {
            errno = EEXIST;
            if (!make_room(target, place, error))
                return false;
            if (mkdirat(place->parent_fd, place->base, 0700) < 0)
                return sl_fail_errno(error, errno, "creating %s", place->path);
        }
    }
    fd = openat(place->parent_fd, place->base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return sl_fail_errno(error, errno, "opening %s", place->path);
    sl_unpack_note_dir_time(target, place->path, &mtime);
    return attributes_set(target, place, fd, mode_of(target, place->entry, 0700), error) &&
           note_made(target, place, error);
}

/* The folder itself: "./" in the archive. */
static bool
root_set(SlUnpackTarget *target, const Place *place, GError **error)
{
    struct timespec mtime = mtime_of(place->entry);

    if (archive_entry_hardlink(place->entry) || archive_entry_filetype(place->entry) != AE_IFDIR)
        return sl_fail(error, SL_ERROR_INVALID, "invalid archive: the root is not a folder");
    sl_unpack_note_dir_time(target, "", &mtime);
    return attributes_set(target, place, target->root_fd, mode_of(target, place->entry, 0700), error);
}

static bool
content_write(SlUnpackTarget *target, struct archive *archive, const Place *place, int fd, int64_t size,
              GError **error)
{
    for (;;) {
        const void *data;
        size_t n;
        int64_t offset;
        int result = archive_read_data_block(archive, &data, &n, &offset);

        if (result == ARCHIVE_EOF)
            break;
        if (result < ARCHIVE_WARN)
            return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s: %s", place->path,
                           archive_error_string(archive));
        if (offset < 0 || offset > size || (int64_t)n > size - offset)
            return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s: more content than its size",
                           place->path);
        if (sl_cancel_is_fired(target->cancel))
            return sl_fail(error, SL_ERROR_CANCELLED, "cancelled");
        for (size_t done = 0; done < n;) {
            ssize_t now = pwrite(fd, (const char *)data + done, n - done, offset + (off_t)done);

            if (now < 0 && errno != EINTR)
                return sl_fail_errno(error, errno, "writing %s", place->path);
            done += now > 0 ? (size_t)now : 0;
        }
    }
    if (ftruncate(fd, size) < 0) /* a hole at the end */
        return sl_fail_errno(error, errno, "writing %s", place->path);
    return true;
}

static bool
file_make(SlUnpackTarget *target, struct archive *archive, const Place *place, int64_t *ret_bytes,
          GError **error)
{
    static const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    struct timespec mtime = mtime_of(place->entry);
    struct timespec times[2] = { mtime, mtime };
    int64_t size = archive_entry_size(place->entry);
    sl_autofd int fd = -1;

    if (size < 0)
        return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s: a negative size", place->path);
    if (size > target->budget->bytes_left)
        return sl_fail(error, SL_ERROR_TOO_LARGE, "archive is too large: %s goes over the limit",
                       place->path);

    fd = openat(place->parent_fd, place->base, flags, 0600);
    if (fd < 0) {
        if (!make_room(target, place, error))
            return false;
        fd = openat(place->parent_fd, place->base, flags, 0600);
    }
    if (fd < 0)
        return sl_fail_errno(error, errno, "creating %s", place->path);
    if (!content_write(target, archive, place, fd, size, error) ||
        !attributes_set(target, place, fd, mode_of(target, place->entry, 0400), error))
        return false;
    if (futimens(fd, times) < 0)
        return sl_fail_errno(error, errno, "setting the time of %s", place->path);
    *ret_bytes = size;
    return note_made(target, place, error);
}

static bool
link_attributes_set(SlUnpackTarget *target, const Place *place, GError **error)
{
    struct timespec mtime = mtime_of(place->entry);
    struct timespec times[2] = { mtime, mtime };
    uid_t uid = 0;
    gid_t gid = 0;

    if (!owner_of(place->entry, &uid, &gid, error))
        return false;
    if (target->is_root && fchownat(place->parent_fd, place->base, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        return sl_fail_errno(error, errno, "setting the owner of %s", place->path);
    if (utimensat(place->parent_fd, place->base, times, AT_SYMLINK_NOFOLLOW) < 0)
        return sl_fail_errno(error, errno, "setting the time of %s", place->path);
    return note_made(target, place, error);
}

/* The target is kept as it is, wherever it points: whoever follows it later does so confined. */
static bool
symlink_make(SlUnpackTarget *target, const Place *place, GError **error)
{
    const char *to = archive_entry_symlink(place->entry);

    if (!to || !*to || strlen(to) >= PATH_MAX)
        return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s: a symbolic link to nothing",
                       place->path);
    if (symlinkat(to, place->parent_fd, place->base) < 0) {
        if (!make_room(target, place, error))
            return false;
        if (symlinkat(to, place->parent_fd, place->base) < 0)
            return sl_fail_errno(error, errno, "creating %s", place->path);
    }
    return link_attributes_set(target, place, error);
}

static bool
fifo_make(SlUnpackTarget *target, const Place *place, GError **error)
{
    mode_t mode = mode_of(target, place->entry, 0);

    if (mkfifoat(place->parent_fd, place->base, mode) < 0) {
        if (!make_room(target, place, error))
            return false;
        if (mkfifoat(place->parent_fd, place->base, mode) < 0)
            return sl_fail_errno(error, errno, "creating %s", place->path);
    }
    return link_attributes_set(target, place, error);
}

/* Opens the folder of a hard link's target: another descriptor than the entry's own parent. */
static bool
hardlink_source(SlUnpackTarget *target, const char *path, int *ret_fd, const char **ret_base, GError **error)
{
    int parent_fd;

    if (!sl_unpack_parent(target, path, &parent_fd, ret_base, error))
        return false;
    *ret_fd = fcntl(parent_fd, F_DUPFD_CLOEXEC, 3);
    return *ret_fd >= 0 || sl_fail_errno(error, errno, "opening %s", path);
}

static bool
hardlink_make(SlUnpackTarget *target, const char *path, struct archive_entry *entry, GError **error)
{
    g_autofree char *source = sl_unpack_clean(archive_entry_hardlink(entry), error);
    Place place = { .path = path, .entry = entry };
    sl_autofd int source_fd = -1;
    const char *source_base;
    struct stat status;

    if (!source)
        return false;
    if (!*source || strcmp(source, path) == 0)
        return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s: a hard link to itself or the root",
                       path);
    if (!hardlink_source(target, source, &source_fd, &source_base, error) ||
        !sl_unpack_parent(target, path, &place.parent_fd, &place.base, error))
        return false;
    if (fstatat(source_fd, source_base, &status, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(status.st_mode))
        return sl_fail(error, SL_ERROR_INVALID,
                       "invalid archive: %s: a hard link to %s, which is no file here", path, source);

    if (linkat(source_fd, source_base, place.parent_fd, place.base, 0) < 0) {
        if (!make_room(target, &place, error))
            return false;
        if (linkat(source_fd, source_base, place.parent_fd, place.base, 0) < 0)
            return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s: hard link to %s: %s", path, source,
                           g_strerror(errno));
    }
    sl_unpack_note(target, &status);
    return true;
}

static bool
whiteout_apply(SlUnpackTarget *target, const Place *place, GError **error)
{
    const char *hidden = place->base + strlen(whiteout_prefix);

    if (strcmp(place->base, whiteout_opaque) == 0)
        return sl_unpack_make_opaque(target, place->parent_fd, error);
    if (g_str_has_prefix(place->base, whiteout_meta_prefix)) /* aufs' own bookkeeping */
        return true;
    if (!*hidden || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0)
        return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s: a whiteout of nothing", place->path);
    return sl_unpack_remove(target, place->parent_fd, hidden, error);
}

static bool
place_make(SlUnpackTarget *target, struct archive *archive, const Place *place, int64_t *ret_bytes,
           GError **error)
{
    switch (archive_entry_filetype(place->entry)) {
    case AE_IFDIR:
        return folder_make(target, place, error);
    case AE_IFREG:
        return file_make(target, archive, place, ret_bytes, error);
    case AE_IFLNK:
        return symlink_make(target, place, error);
    case AE_IFIFO:
        return fifo_make(target, place, error);
    case AE_IFCHR:
    case AE_IFBLK:
    case AE_IFSOCK:
        /* Never made, not even as root: containers get their own /dev, and a disk's node within reach of one
         * would be a way out. */
        return true;
    default:
        return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s: an unknown kind of file", place->path);
    }
}

bool
sl_unpack_entry(SlUnpackTarget *target, struct archive *archive, struct archive_entry *entry,
                int64_t *ret_bytes, GError **error)
{
    g_autofree char *path = sl_unpack_clean(archive_entry_pathname(entry), error);
    Place place = { .path = path, .entry = entry, .parent_fd = -1 };

    *ret_bytes = 0;
    if (!path)
        return false;
    if (!*path)
        return root_set(target, &place, error);
    if (archive_entry_hardlink(entry) &&
        !g_str_has_prefix(strrchr(path, '/') ? strrchr(path, '/') + 1 : path, whiteout_prefix))
        return hardlink_make(target, path, entry, error);
    if (!sl_unpack_parent(target, path, &place.parent_fd, &place.base, error))
        return false;
    if (g_str_has_prefix(place.base, whiteout_prefix))
        return whiteout_apply(target, &place, error);
    return place_make(target, archive, &place, ret_bytes, error);
}
