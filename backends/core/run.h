/* The parts of the executor that container's other files share. */
#pragma once

#include "backends/core/container.h"

/*
 * One life of an agent's connection: what the link's callbacks know. Made for each link, freed when it closes.
 */
typedef struct SlRun SlRun;

/* Connects to the agent that should be there and makes its link the container's. The run's end comes by itself from here on. is_adopted: hello decides what state the container is in. */
bool sl_run_connect(SlContainer *container, const SlLaunchSpec *spec, bool is_adopted, GError **error);

/* The process runs: attached clients' input goes to it from now on. What came earlier would be dropped by the agent. */
void sl_run_open_stdin(SlContainer *container, SlLink *link);

/* The state says when the policy's next start is due: its timer is set. */
void sl_container_arm_restart(SlContainer *container);
/* No timer fires any more, when the loop has come round. */
void sl_container_end_timers(SlContainer *container);
/* An agent answers, or may still do. */
bool sl_container_has_link(SlContainer *container);

/* What was posted to the executor. */
typedef struct SlPosted {
    SlEvent event;
    char *message;
    int64_t log_length; /* of an EXITED; -1: not known */
    struct SlPosted *next;
} SlPosted;
/* As sl_container_post, with the length of the sealed log. */
void sl_container_post_exit(SlContainer *container, const SlEvent *event, const char *message,
                            int64_t log_length);

/* exec.c: execs of a container. On the loop's thread: */
void sl_execs_exited(SlContainer *container, uint32_t channel, const json_t *exited);
void sl_execs_receive(SlContainer *container, uint32_t channel, uint64_t offset, const uint8_t *data,
                      size_t n);
void sl_execs_granted(SlContainer *container, uint32_t channel, uint64_t offset);
void sl_execs_adopt(SlContainer *container, SlLink *link, const json_t *execs);
/* The link is gone, or the container has exited: those that still run have ended (255 when nobody knows better). */
void sl_execs_lost(SlContainer *container);
/* Any thread: forgets all of a removed container's. */
void sl_execs_forget(SlContainer *container);
