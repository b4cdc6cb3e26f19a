/*
 * A container's life as a pure function: state and event in, new state and actions out. It touches nothing else, so its test is a table.
 *
 *     created → starting → running → exited → (starting …)          any but starting, running → removing → gone
 *
 * What an event needs beyond its kind (messages, codes) is in SlEvent; what Docker shows beyond the phase is in SlState.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef enum SlPhase {
    SL_PHASE_CREATED, /* never started, or a start that failed before any process was there */
    SL_PHASE_STARTING,
    SL_PHASE_RUNNING,
    SL_PHASE_EXITED,
    SL_PHASE_REMOVING,
    SL_PHASE_GONE,
} SlPhase;

typedef struct SlState {
    SlPhase phase;
    bool is_stopping;      /* a stop or kill was asked for: the exit is not a surprise */
    bool is_remove_wanted; /* removed as soon as it has exited: force, or AutoRemove */
    bool auto_remove;      /* HostConfig.AutoRemove */
    int attempt;           /* launches so far; with the container's id the idempotency token of a launch */
    int pid;               /* 0 when not running */
    int exit_code;
    int64_t started_ns, finished_ns; /* 0: never */
} SlState;

typedef enum SlEventKind {
    SL_EVENT_START,         /* the user's */
    SL_EVENT_STARTED,       /* the agent's: pid, time_ns */
    SL_EVENT_START_FAILED,  /* exit_code 126, 127 or 128 */
    SL_EVENT_EXITED,        /* exit_code, time_ns */
    SL_EVENT_STOP,          /* the user's: signal, grace_ms (-1: never kill) */
    SL_EVENT_KILL,          /* the user's: signal */
    SL_EVENT_GRACE_OVER,    /* the timer that STOP armed */
    SL_EVENT_REMOVE,        /* the user's: is_forced */
    SL_EVENT_REMOVE_FAILED, /* clean-up could not be done: it can be tried again */
} SlEventKind;

typedef struct SlEvent {
    SlEventKind kind;
    int exit_code, signal, pid, grace_ms;
    int64_t time_ns;
    bool is_forced;
} SlEvent;

/* What is to be done, in the order of the bits, lowest first. */
typedef enum SlActionFlags {
    SL_ACTION_REFUSE_RUNNING = 1 << 0,     /* the answer: 304 already started */
    SL_ACTION_REFUSE_NOT_RUNNING = 1 << 1, /* 304 for stop, 409 for kill */
    SL_ACTION_REFUSE_REMOVE = 1 << 2,      /* 409 running, without force */
    SL_ACTION_REFUSE_REMOVING = 1 << 3,    /* 409 removal already in progress; 404 once gone */
    SL_ACTION_COMMIT = 1 << 4,             /* the new state is stored before anything below is done */
    SL_ACTION_LAUNCH = 1 << 5,             /* driver and agent; ends in STARTED or START_FAILED */
    SL_ACTION_SIGNAL = 1 << 6,             /* signal, to the first process */
    SL_ACTION_ARM_GRACE = 1 << 7,
    SL_ACTION_DISARM_GRACE = 1 << 8,
    SL_ACTION_END_READERS = 1 << 9, /* end of file to attach and logs of this run */
    SL_ACTION_RELEASE = 1 << 10,    /* agent and workload are let go */
    SL_ACTION_TELL_WAITERS = 1 << 11,
    SL_ACTION_DELETE = 1 << 12, /* files, name, index; then GONE is told to waiters */
} SlActionFlags;

typedef struct SlActions {
    unsigned flags;
    int signal;
    int grace_ms;
} SlActions;

SlActions sl_lifecycle_step(SlState *state, const SlEvent *event);

/* "created", "running", "exited", "removing": State.Status. A container that is starting shows what it was. */
const char *sl_phase_status(const SlState *state);
