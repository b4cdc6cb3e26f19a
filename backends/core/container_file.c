#include "backends/core/container_file.h"

#include "common/failpoint.h"
#include "common/fd.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const char file_name[] = "container.json";
enum { MAX_BYTES = 16 * 1024 * 1024 };

static int
open_folder(SlCore *core, const char *id)
{
    return openat(core->containers_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool
write_new(SlContainer *container, GError **error)
{
    g_autofree char *document = sl_container_to_document(container);
    g_autofree char *path = g_strdup_printf("%s/%s", container->id, file_name);
    sl_autofd int fd = -1;

    if (!sl_failpoint("create.folder.made"))
        return sl_fail_errno(error, errno, "creating the container's folder");
    fd = openat(container->core->containers_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return sl_fail_errno(error, errno, "creating the container's %s", file_name);
    if (!sl_fd_write_all(fd, document, strlen(document), file_name, error))
        return false;
    sl_failpoint("create.file.written");
    return true;
}

bool
sl_container_file_create(SlContainer *container, GError **error)
{
    if (mkdirat(container->core->containers_fd, container->id, 0700) < 0)
        return sl_fail_errno(error, errno, "creating the container's folder");
    if (write_new(container, error))
        return true;
    sl_container_file_undo(container);
    return false;
}

void
sl_container_file_update(SlContainer *container)
{
    g_autofree char *document = sl_container_to_document(container);
    g_autoptr(GError) error = NULL;
    sl_autofd int folder_fd = open_folder(container->core, container->id);

    if (folder_fd < 0)
        sl_warn("a container has no folder container=%s error=\"%s\"", container->id, g_strerror(errno));
    else if (!sl_file_replace(folder_fd, file_name, document, strlen(document), 0600, &error))
        sl_warn("a container's file is not up to date container=%s error=\"%s\"", container->id,
                error->message);
}

void
sl_container_file_remove(SlContainer *container)
{
    g_autofree char *path = g_strdup_printf("%s/%s", container->id, file_name);

    if (unlinkat(container->core->containers_fd, path, 0) < 0 && errno != ENOENT)
        sl_warn("a container's file cannot be removed container=%s error=\"%s\"", container->id,
                g_strerror(errno));
}

void
sl_container_file_undo(SlContainer *container)
{
    g_autoptr(GError) error = NULL;

    if (!sl_tree_remove(container->core->containers_fd, container->id, &error))
        sl_warn("a folder stays container=%s error=\"%s\"", container->id, error->message);
}

char *
sl_container_file_read(SlCore *core, const char *id)
{
    sl_autofd int folder_fd = open_folder(core, id);
    sl_autofd int fd = -1;
    g_autofree char *text = NULL;
    struct stat status;

    if (folder_fd < 0)
        return NULL;
    fd = openat(folder_fd, file_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size > MAX_BYTES)
        return NULL;
    text = g_malloc0((size_t)status.st_size + 1);
    if (!sl_fd_read_at(fd, text, (size_t)status.st_size, 0, file_name, NULL))
        return NULL;
    return g_steal_pointer(&text);
}
