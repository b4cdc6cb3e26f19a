#include "backends/core/recover.h"

#include "backends/core/container.h"
#include "backends/core/container_file.h"
#include "backends/core/container_networks.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/id.h"
#include "common/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

enum { EXIT_UNKNOWN = 255 };

/* ---- what a container without a stored state came to ---- */

static bool
agent_answers(SlContainer *container, const SlLaunchSpec *spec)
{
    SlDriver *driver = container->core->driver;
    int fd;

    if (!driver->ops.agent_connect(driver, NULL, spec, &fd, NULL))
        return false;
    close(fd);
    return true;
}

/* Its file tells of its creation. An agent that lives says the rest when it is adopted; one that has ended left its exit behind. */
static void
settle_state(SlContainer *container)
{
    sl_autofd int folder_fd = open(container->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    SlLaunchSpec spec = sl_container_launch_spec(container, folder_fd);
    SlDriver *driver = container->core->driver;
    SlWorkloadStatus status = { .log_length = -1 };
    bool was_launched = faccessat(folder_fd, SL_AGENT_SOCKET_NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

    if (!was_launched || agent_answers(container, &spec) ||
        !driver->ops.poll(driver, NULL, &spec, NULL, &status, NULL))
        return;
    container->state.phase = SL_PHASE_EXITED;
    container->state.exit_code = status.has_exit ? status.exit_code : EXIT_UNKNOWN;
    container->state.finished_ns = status.has_exit ? status.finished_ns : sl_clock_now_ns();
    container->state.started_ns = status.has_exit ? status.started_ns : container->created_ns;
    g_free(container->error);
    container->error = g_steal_pointer(&status.reason);
}

/* ---- taking a container back ---- */

static void
make_name_unique(SlContainer *container)
{
    char *name;

    if (!g_hash_table_contains(container->core->by_name, container->name))
        return;
    name = g_strdup_printf("%s-%.*s", container->name, SL_ID_SHORT_CHARS, container->id);
    sl_warn("a recovered container's name is taken container=%s name=%s now=%s", container->id,
            container->name, name);
    g_free(container->name);
    container->name = name;
}

static void
index_container(SlContainer *container /* taken */)
{
    SlCore *core = container->core;

    g_hash_table_insert(core->by_id, container->id, container);
    g_hash_table_insert(core->by_name, g_strdup(container->name), container);
    g_ptr_array_add(core->in_order, container);
}

/* NULL: there is nothing in the folder to take it back by. */
static SlContainer *
read_container(SlCore *core, const char *id)
{
    g_autofree char *document = sl_container_file_read(core, id);
    g_autoptr(GError) error = NULL;
    SlContainer *container;

    if (!document)
        return NULL;
    container = sl_container_from_document(core, id, document, &error);
    if (!container)
        sl_warn("a container's file cannot be read container=%s error=\"%s\"", id, error->message);
    return container;
}

static bool
is_wanted(SlContainer *container, bool is_store_new, bool has_document)
{
    sl_autofd int folder_fd = open(container->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    SlLaunchSpec spec = sl_container_launch_spec(container, folder_fd);

    return is_store_new || has_document || agent_answers(container, &spec);
}

/* Whether the folder is some container's. */
static bool
take_back(SlCore *core, const char *id, bool is_store_new, GPtrArray *taken)
{
    g_autoptr(SlContainer) container = read_container(core, id);
    bool has_document = sl_store_has(core->store, "container", id);

    if (container && is_wanted(container, is_store_new, has_document)) {
        make_name_unique(container);
        settle_state(container);
        sl_container_reclaim_networks(container);
        sl_warn("container taken back from its folder container=%s name=%s", id, container->name);
        g_ptr_array_add(taken, container);
        index_container(g_steal_pointer(&container));
        return true;
    }
    if (has_document)
        sl_error("a container cannot be read, its folder stays container=%s", id);
    return has_document;
}

static bool
store_all(SlCore *core, const GPtrArray *taken, GError **error)
{
    g_autoptr(GPtrArray) documents = g_ptr_array_new_with_free_func(g_free);
    g_autofree SlStoreChange *changes = g_new(SlStoreChange, taken->len + 1);

    for (guint i = 0; i < taken->len; i++) {
        SlContainer *container = taken->pdata[i];

        g_ptr_array_add(documents, sl_container_to_document(container));
        changes[i] = (SlStoreChange){ "container", container->id, documents->pdata[i] };
    }
    return sl_store_commit(core->store, changes, taken->len, NULL, 0, error);
}

static int
compare_age(const void *a, const void *b)
{
    const SlContainer *const *left = a, *const *right = b;

    return ((*left)->created_ns > (*right)->created_ns) - ((*left)->created_ns < (*right)->created_ns);
}

bool
sl_core_recover_folders(SlCore *core, GError **error)
{
    DIR *dir = fdopendir(fcntl(core->containers_fd, F_DUPFD_CLOEXEC, 3));
    g_autoptr(GPtrArray) taken = g_ptr_array_new();
    bool is_store_new = sl_store_is_new(core->store);

    if (!dir)
        return sl_fail_errno(error, errno, "listing the containers' folders");
    rewinddir(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        g_autoptr(GError) local = NULL;

        if (*entry->d_name == '.' || g_hash_table_contains(core->by_id, entry->d_name) ||
            take_back(core, entry->d_name, is_store_new, taken))
            continue;
        if (!sl_tree_remove(core->containers_fd, entry->d_name, &local))
            sl_error("a removed container's files stay container=%s error=%s", entry->d_name, local->message);
    }
    closedir(dir);
    if (taken->len > 0)
        g_ptr_array_sort(core->in_order, compare_age);
    return store_all(core, taken, error) && (!is_store_new || sl_store_settle(core->store, error));
}

/* ---- what is said of it ---- */

void
sl_core_add_damage_warnings(SlCore *core, json_t *warnings)
{
    g_autoptr(GDir) dir = g_dir_open(core->data, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        const char *time = strstr(name, SL_STORE_DAMAGED);

        if (time && !g_str_has_suffix(name, "-wal"))
            json_array_append_new(
                warnings,
                json_sprintf("WARNING: the state file was damaged and put aside as %s/%s; what it and the "
                             "containers' folders told was kept. Remove that file when it is not needed",
                             core->data, name));
    }
}
