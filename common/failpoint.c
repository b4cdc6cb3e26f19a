#include "common/failpoint.h"

#include <glib.h>

#include "common/log.h"
#include "common/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const sl_failpoint_names[] = {
    "store.begin.before",    "store.begin.after",
    "store.commit.before",   "store.commit.after",
    "create.folder.made",    "create.file.written",
    "driver.folder.made",    "driver.root.made",
    "driver.socket.bound",   "driver.agent.spawned",
    "link.connected",        "link.request.sent",
    "link.answer.received",  "remove.committed",
    "remove.files.gone",     "agent.root.mounted",
    "agent.spawned",         "agent.exit.before",
    "agent.exit.stored",     "content.blob.written",
    "content.blob.synced",   "content.blob.stored",
    "image.layers.unpacked", "image.rootfs.stored",
    "image.removed",         NULL,
};

#ifdef SL_FAILPOINTS

static const struct {
    const char *name;
    int number;
} errors[] = {
    { "ENOSPC", ENOSPC }, { "EIO", EIO },       { "EMFILE", EMFILE },
    { "ENOMEM", ENOMEM }, { "EAGAIN", EAGAIN }, { "EACCES", EACCES },
};

enum { KILL = -1 };

typedef struct Armed {
    char *name;
    guint64 nth;
    int error; /* or KILL */
} Armed;

static const char *variable; /* whole */
static const char *source;   /* its value; NULL: nothing is armed. Set once */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *counted; /* the specification that n_passed counts for */
static guint64 n_passed;

static void
read_variable(void)
{
    const char *text = getenv("SOCKERLESS_FAILPOINT");

    if (!text || !*text)
        return;
    variable = g_strconcat("SOCKERLESS_FAILPOINT=", text, NULL);
    source = strchr(variable, '=') + 1;
}

const char *
sl_failpoint_variable(void)
{
    pthread_once(&once, read_variable);
    return variable;
}

static int
action_number(const char *action)
{
    for (size_t i = 0; i < G_N_ELEMENTS(errors); i++)
        if (strcmp(action, errors[i].name) == 0)
            return errors[i].number;
    return strcmp(action, "kill") == 0 ? KILL : 0;
}

static bool
is_name(const char *name)
{
    for (const char *const *known = sl_failpoint_names; *known; known++)
        if (strcmp(*known, name) == 0)
            return true;
    return false;
}

/* NAME[:N][=ACTION]. False, and said, when it is none: a point with a wrong name would never fire and the test of it always pass. */
static bool
parse(const char *text, Armed *ret_armed)
{
    g_auto(GStrv) halves = g_strsplit(text, "=", 2);
    g_auto(GStrv) parts = g_strsplit(halves[0], ":", 2);
    guint64 nth = parts[1] ? g_ascii_strtoull(parts[1], NULL, 10) : 1;
    int error = action_number(halves[1] ? halves[1] : "kill");

    if (!is_name(parts[0]) || nth == 0 || error == 0) {
        sl_error("SOCKERLESS_FAILPOINT is not understood text=\"%s\"", text);
        return false;
    }
    *ret_armed = (Armed){ g_strdup(parts[0]), nth, error };
    return true;
}

/* lock held. Whether this passing of name is the one that was asked for. */
static bool
is_due(const char *name, int *ret_error)
{
    g_autofree char *text = NULL;
    Armed armed;
    bool is_here;

    if (*source != '/')
        text = g_strdup(source);
    else if (!g_file_get_contents(source, &text, NULL, NULL))
        return false;
    if (strcmp(g_strchomp(text), "trace") == 0)
        sl_info("failure point passed name=%s", name);
    if (strcmp(text, "trace") == 0 || !parse(text, &armed))
        return false;
    is_here = strcmp(armed.name, name) == 0;
    g_free(armed.name);
    if (!is_here)
        return false;
    if (g_strcmp0(counted, text) != 0) {
        g_free(counted);
        counted = g_steal_pointer(&text);
        n_passed = 0;
    }
    *ret_error = armed.error;
    return ++n_passed == armed.nth;
}

bool
sl_failpoint(const char *name)
{
    int error;

    pthread_once(&once, read_variable);
    if (!source)
        return true;
    SL_LOCK_GUARD(&lock);

    if (!is_due(name, &error))
        return true;
    if (*source == '/') {
        if (unlink(source) < 0)
            return true; /* another process was first */
        g_clear_pointer(&counted, g_free);
    }
    if (error == KILL)
        kill(getpid(), SIGKILL);
    errno = error;
    return false;
}

#endif
