/*
 * A container: identity that never changes, state under one lock, and a serial executor for what happens to it.
 *
 * Locks: core->lock (names) → turn (the executor) is never taken while core->lock is held; container->lock is a leaf; nothing is held across a commit or
 * I/O but turn, which is the executor itself.
 */
#pragma once

#include "backends/core/channel.h"
#include "backends/core/core.h"
#include "backends/core/lifecycle.h"
#include "backends/core/link.h"
#include "backends/core/log_reader.h"

#include <stdatomic.h>

typedef enum SlWaitFor {
    SL_WAIT_NOT_RUNNING, /* now, when it is not */
    SL_WAIT_NEXT_EXIT,
    SL_WAIT_REMOVED,
} SlWaitFor;

/* Told once, without locks; message is State.Error or NULL. was_removed: the container went before the exit that was waited for. */
typedef void (*SlWaitTell)(void *user, int exit_code, const char *message);

struct SlContainer {
    atomic_int refs;
    SlCore *core;

    /* Identity */
    char *id;
    int64_t created_ns;
    char *image_name;         /* as the client gave it: Config.Image */
    char *image_id;           /* "sha256:…" */
    char *rootfs;             /* folder of the unpacked image */
    char *folder;             /* core->data/containers/<id> */
    char *token;              /* the agent's */
    DkContainerCreate config; /* merged with the image's */
    char *config_text;        /* the same as JSON */
    SlLog *log;

    /* The executor: one event at a time. */
    pthread_mutex_t turn;

    /* State */
    pthread_mutex_t lock;
    char *name; /* changes under core->lock and lock */
    SlState state;
    char *error;                         /* State.Error, or NULL */
    char *handle;                        /* the driver's, of the last launch */
    SlLink *link;                        /* to the agent, while there is one */
    GBytes *summary_head, *summary_tail; /* of the list, without Status; NULL: to be made */
    GPtrArray *endpoints;                /* of SlAttachment; changed with turn held */
    GPtrArray *waiters;
    GPtrArray *execs;   /* of SlExec, references: those that run */
    GQueue ended_execs; /* of char *, ids: the oldest first */
    struct SlPosted *posted, **posted_last;
    bool is_posted_scheduled;

    /* The loop's */
    SlChannel *stdin_;      /* of the running process; NULL when it has none */
    GPtrArray *stdin_feeds; /* attached clients with input, kicked when stdin_ comes or has room */
    SlTimer *grace, *back_off;
};

/* Makes an object outside any index. config is moved in; config_text, the same as JSON, is taken. */
SlContainer *sl_container_new(SlCore *core, const char *id, DkContainerCreate *config, char *config_text);
SlContainer *sl_container_ref(SlContainer *container);
void sl_container_unref(SlContainer *container);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlContainer, sl_container_unref)

/* Copies of what is shown. Caller frees name. */
char *sl_container_dup_name(SlContainer *container);
SlState sl_container_get_state(SlContainer *container, char **ret_error /* may be NULL; g_free */);
bool sl_container_is_running(SlContainer *container);
/* Docker's words for a container that is between two runs; %s: its id. */
#define SL_CONTAINER_IS_RESTARTING "Container %s is restarting, wait until the container is running"

/* It runs and takes new processes and clients now: neither paused nor between two runs. what: "exec", "attach". Errors: SL_ERROR_CONFLICT. */
bool sl_container_check_active(SlContainer *container, const char *what, GError **error);
/* A reference to the link of a running container. Errors: SL_ERROR_CONFLICT "Container ID is not running". */
SlLink *sl_container_dup_link(SlContainer *container, GError **error);

/* The stored form. */
char *sl_container_to_document(SlContainer *container);
SlContainer *sl_container_from_document(SlCore *core, const char *id, const char *document, GError **error);
/* Stores the container's document (is_deleted: removes it), with the events noted so far. */
bool sl_container_commit(SlContainer *container, bool is_deleted, GError **error);
/* Notes a container event with Docker's attributes: the labels, image, name, and extra (taken, may be NULL). */
void sl_container_emit(SlContainer *container, const char *action, json_t *extra);

/* The launch description; borrows from container. folder_fd: opened by the caller, or -1. */
SlLaunchSpec sl_container_launch_spec(SlContainer *container, int folder_fd);

/* ---- run.c: the executor ---- */

/* Runs one user event (START, STOP, KILL, PAUSE, UNPAUSE, UPDATE, REMOVE) through the lifecycle on this thread, after those that wait. START returns when the process runs or could not.
 * REMOVE of a running one and STOP return when the signal is sent: wait for the rest. Errors: Docker's, by the refusal. */
bool sl_container_act(SlContainer *container, const SlEvent *event, GError **error);
/* Queues an event that nobody waits for; message becomes State.Error when not NULL. Any thread. */
void sl_container_post(SlContainer *container, const SlEvent *event, const char *message);
/* After a restart of the daemon: finds agent or exit of a container that was running or may have been started. */
void sl_container_adopt(SlContainer *container);

/* ---- wait.c ---- */

/* Tells when wait_for comes true; at once (on this thread) when it is. Returns a number for sl_container_unwait, 0 when already told. */
unsigned sl_container_wait(SlContainer *container, SlWaitFor wait_for, SlWaitTell tell, void *user);
/* False when it was told already (or is being told). */
bool sl_container_unwait(SlContainer *container, unsigned number);
/* Blocks. Errors: SL_ERROR_CANCELLED, SL_ERROR_DEADLINE. */
bool sl_container_wait_blocking(SlContainer *container, SlWaitFor wait_for, SlCancel *cancel, int timeout_ms,
                                GError **error);
/* run.c tells: NEXT_EXIT and NOT_RUNNING ones after an exit; all when it is gone. */
void sl_container_tell_waiters(SlContainer *container, bool is_gone);

/* ---- list.c, inspect.c ---- */
void sl_container_summary_changed(SlContainer *container);
json_t *sl_container_inspect(SlContainer *container, bool with_size);
/* "Up 3 seconds", "Exited (0) 2 minutes ago", "Created". Caller frees. */
char *sl_state_status_text(const SlState *state, int64_t now_ns);
