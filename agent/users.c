#include "agent/users.h"

#include "agent/root.h"
#include "common/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum {
    MAX_FILE_BYTES = 4 * 1024 * 1024,
    MAX_GROUPS = 1024,
    MAX_ID = INT32_MAX, /* as Docker */
};

/* The lines of a small file in the root; empty when it is not there. */
static char **
read_lines(int root_fd, const char *path)
{
    sl_autofd int fd = sl_root_open(root_fd, path, O_RDONLY | O_NONBLOCK);
    g_autofree char *text = NULL;
    struct stat status;
    ssize_t n;

    if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size > MAX_FILE_BYTES)
        return g_new0(char *, 1);
    text = g_malloc0((size_t)status.st_size + 1);
    n = pread(fd, text, (size_t)status.st_size, 0);
    return n > 0 ? g_strsplit(text, "\n", -1) : g_new0(char *, 1);
}

static bool
parse_id(const char *text, uint32_t *ret_id)
{
    guint64 value;

    if (!text || !g_ascii_string_to_unsigned(text, 10, 0, MAX_ID, &value, NULL))
        return false;
    *ret_id = (uint32_t)value;
    return true;
}

/* Fields of the first line whose name is name or, when that is a number, whose id it is. NULL when there is
 * none. */
static char **
find_line(char **lines, const char *name, unsigned n_fields)
{
    uint32_t id = 0, line_id;
    bool is_number = parse_id(name, &id);

    for (; *lines; lines++) {
        g_auto(GStrv) fields = g_strsplit(*lines, ":", 16);

        if (g_strv_length(fields) < n_fields || !parse_id(fields[2], &line_id))
            continue;
        if (strcmp(fields[0], name) == 0 || (is_number && line_id == id))
            return g_steal_pointer(&fields);
    }
    return NULL;
}

void
sl_user_clear(SlUser *user)
{
    g_free(user->groups);
    g_free(user->home);
    *user = (SlUser){ 0 };
}

static bool
resolve_uid(int root_fd, const char *name, SlUser *user, char **ret_name, GError **error)
{
    g_auto(GStrv) lines = read_lines(root_fd, "/etc/passwd");
    g_auto(GStrv) fields = find_line(lines, name, 6);

    if (!fields && !parse_id(name, &user->uid))
        return sl_fail(error, SL_ERROR_INVALID, "unable to find user %s: no matching entries in passwd file",
                       name);
    if (!fields)
        return true;
    if (!parse_id(fields[2], &user->uid) || !parse_id(fields[3], &user->gid))
        return sl_fail(error, SL_ERROR_INVALID, "invalid entry of user %s in passwd file", name);
    g_free(user->home);
    user->home = g_strdup(fields[5][0] ? fields[5] : "/");
    *ret_name = g_strdup(fields[0]);
    return true;
}

static bool
resolve_gid(int root_fd, const char *name, uint32_t *gid, GError **error)
{
    g_auto(GStrv) lines = read_lines(root_fd, "/etc/group");
    g_auto(GStrv) fields = find_line(lines, name, 3);

    if (fields ? parse_id(fields[2], gid) : parse_id(name, gid))
        return true;
    return sl_fail(error, SL_ERROR_INVALID, "unable to find group %s: no matching entries in group file",
                   name);
}

static void
add_groups_of(int root_fd, const char *user_name, SlUser *user)
{
    g_auto(GStrv) lines = read_lines(root_fd, "/etc/group");
    GArray *groups = g_array_new(FALSE, FALSE, sizeof(uint32_t));

    for (char **line = lines; *line && groups->len < MAX_GROUPS; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, ":", 5);
        g_auto(GStrv) members = g_strv_length(fields) >= 4 ? g_strsplit(fields[3], ",", -1) : NULL;
        uint32_t gid;

        if (members && g_strv_contains((const char *const *)members, user_name) && parse_id(fields[2], &gid))
            g_array_append_val(groups, gid);
    }
    user->n_groups = groups->len;
    user->groups = (uint32_t *)(void *)g_array_free(groups, FALSE);
}

bool
sl_user_resolve(int root_fd, const char *text, SlUser *ret_user, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text ? text : "", ":", 2);
    g_auto(SlUser) user = { .home = g_strdup("/") };
    g_autofree char *name = NULL;
    const char *user_part = parts[0] && parts[0][0] ? parts[0] : "0";
    const char *group_part = parts[0] && parts[1] && parts[1][0] ? parts[1] : NULL;

    if (!resolve_uid(root_fd, user_part, &user, &name, error))
        return false;
    if (group_part && !resolve_gid(root_fd, group_part, &user.gid, error))
        return false;
    if (!group_part && name)
        add_groups_of(root_fd, name, &user);

    *ret_user = user;
    user = (SlUser){ 0 };
    return true;
}

char *
sl_user_name(int root_fd, uint32_t uid)
{
    g_auto(GStrv) lines = read_lines(root_fd, "/etc/passwd");
    g_autofree char *number = g_strdup_printf("%u", uid);

    for (char **line = lines; *line; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, ":", 4);

        if (g_strv_length(fields) == 4 && strcmp(fields[2], number) == 0)
            return g_strdup(fields[0]);
    }
    return g_steal_pointer(&number);
}
