/*
 * A container's life as a pure function: state and event in, new state and actions out. It touches nothing else, so its test is a table.
 *
 *     created → starting → running (⇄ paused) → exited (→ starting …)      running → restarting → starting → running …
 *     any but starting, running → removing → gone
 *
 * What an event needs beyond its kind (messages, codes) is in SlEvent; what Docker shows beyond the phase is in SlState.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The numbers are stored. */
typedef enum SlPhase {
    SL_PHASE_CREATED = 0, /* never started, or a start that failed before any process was there */
    SL_PHASE_STARTING = 1,
    SL_PHASE_RUNNING = 2,
    SL_PHASE_EXITED = 3,
    SL_PHASE_REMOVING = 4,
    SL_PHASE_GONE = 5,
    SL_PHASE_RESTARTING = 6, /* exited, and started again by its policy when the back-off is over */
} SlPhase;

/* HostConfig.RestartPolicy */
typedef enum SlRestartKind {
    SL_RESTART_NO,
    SL_RESTART_ON_FAILURE,
    SL_RESTART_ALWAYS,
    SL_RESTART_UNLESS_STOPPED,
} SlRestartKind;

typedef struct SlRestartPolicy {
    SlRestartKind kind;
    int max_retries; /* of ON_FAILURE; 0: without end */
} SlRestartPolicy;

enum {
    SL_BACK_OFF_FIRST_MS = 100,
    SL_BACK_OFF_MAX_MS = 60 * 1000,
    SL_BACK_OFF_RESET_MS = 10 * 1000, /* whoever ran longer has not failed in a row */
    SL_EXIT_NOT_STARTED = 128, /* exit code of a start that failed for a reason of ours, not the program's */
};

typedef struct SlState {
    SlPhase phase;
    bool is_paused;        /* while running */
    bool is_stopping;      /* a stop or kill was asked for: the exit is not a surprise */
    bool is_remove_wanted; /* removed as soon as it has exited: force, or AutoRemove */
    bool auto_remove;      /* HostConfig.AutoRemove */
    bool is_kept;          /* the exit is half of a user's restart: AutoRemove leaves it alone */
    bool is_user_stopped;  /* a stop or kill came since the last start by hand: `unless-stopped` stays down */
    bool is_last_run;      /* the next exit is not followed by a restart */
    bool is_policy_start;  /* the start in progress is the policy's */
    SlRestartPolicy restart; /* may be updated; what create was given stays in its config */
    int restart_count;       /* since the last start by hand */
    int back_off_ms;         /* the last one; 0: none yet */
    int attempt;             /* launches so far; with the container's id the idempotency token of a launch */
    int pid;                 /* 0 when not running */
    int exit_code;
    int64_t started_ns, finished_ns; /* 0: never */
} SlState;

typedef enum SlEventKind {
    SL_EVENT_START,         /* the user's, or the daemon's when it starts */
    SL_EVENT_STARTED,       /* the agent's: pid, time_ns */
    SL_EVENT_START_FAILED,  /* exit_code 126, 127 or SL_EXIT_NOT_STARTED, time_ns */
    SL_EVENT_EXITED,        /* exit_code, time_ns */
    SL_EVENT_STOP,          /* the user's: signal, grace_ms (-1: never kill), is_kept for a restart */
    SL_EVENT_KILL,          /* the user's: signal, ends_policy */
    SL_EVENT_GRACE_OVER,    /* the timer that STOP armed */
    SL_EVENT_RESTART_DUE,   /* the timer that an exit armed */
    SL_EVENT_PAUSE,         /* the user's */
    SL_EVENT_PAUSED,        /* the agent's */
    SL_EVENT_UNPAUSE,       /* the user's */
    SL_EVENT_UNPAUSED,      /* the agent's */
    SL_EVENT_UPDATE,        /* the user's: restart, when has_restart */
    SL_EVENT_REMOVE,        /* the user's: is_forced */
    SL_EVENT_REMOVE_FAILED, /* clean-up could not be done: it can be tried again */
} SlEventKind;

typedef struct SlEvent {
    SlEventKind kind;
    int exit_code, signal, pid, grace_ms;
    int64_t time_ns;
    bool is_forced;
    bool is_kept;
    bool ends_policy; /* of KILL: the signal is one that stops the container, so the policy rests after it */
    bool has_restart;
    SlRestartPolicy restart;
} SlEvent;

/* What is to be done, in the order of the bits, lowest first. */
typedef enum SlActionFlags {
    SL_ACTION_REFUSE_RUNNING = 1 << 0,     /* the answer: 304 already started */
    SL_ACTION_REFUSE_NOT_RUNNING = 1 << 1, /* 304 for stop, 409 for kill and pause */
    SL_ACTION_REFUSE_REMOVE = 1 << 2,      /* 409 running, without force */
    SL_ACTION_REFUSE_REMOVING = 1 << 3,    /* 409 removal already in progress; 404 once gone */
    SL_ACTION_REFUSE_PAUSED = 1 << 4,      /* 409: start or pause of a paused one */
    SL_ACTION_REFUSE_NOT_PAUSED = 1 << 5,  /* 500, as Docker's: unpause of one that is not */
    SL_ACTION_REFUSE_RESTARTING = 1 << 6,  /* 409: pause between two runs */
    SL_ACTION_REFUSE_POLICY = 1 << 7,      /* 409: a policy for a container with AutoRemove */
    SL_ACTION_COMMIT = 1 << 8,             /* the new state is stored before anything below is done */
    SL_ACTION_LAUNCH = 1 << 9,             /* driver and agent; ends in STARTED or START_FAILED */
    SL_ACTION_PAUSE = 1 << 10,             /* ends in PAUSED, or fails */
    SL_ACTION_SIGNAL = 1 << 11,            /* signal, to the first process */
    SL_ACTION_UNPAUSE = 1 << 12,           /* ends in UNPAUSED, or fails */
    SL_ACTION_ARM_GRACE = 1 << 13,
    SL_ACTION_DISARM_GRACE = 1 << 14,
    SL_ACTION_END_READERS = 1 << 15, /* end of file to attach and logs of this run */
    SL_ACTION_RELEASE = 1 << 16,     /* agent and workload are let go */
    SL_ACTION_ARM_RESTART = 1 << 17, /* RESTART_DUE after back_off_ms */
    SL_ACTION_DISARM_RESTART = 1 << 18,
    SL_ACTION_TELL_WAITERS = 1 << 19,
    SL_ACTION_DELETE = 1 << 20, /* files, name, index; then GONE is told to waiters */
} SlActionFlags;

enum { SL_ACTIONS_REFUSE = SL_ACTION_COMMIT - 1 };

typedef struct SlActions {
    unsigned flags;
    int signal;
    int grace_ms;
} SlActions;

SlActions sl_lifecycle_step(SlState *state, const SlEvent *event);

/* It was stopped, and its policy wants it up when the daemon starts. */
bool sl_lifecycle_starts_with_daemon(const SlState *state);
/* As Docker sees it: a process is there, or will be again by the policy. */
bool sl_lifecycle_is_up(const SlState *state);

/* "created", "running", "paused", "restarting", "exited", "removing": State.Status. A container that is starting shows what it was. */
const char *sl_phase_status(const SlState *state);
