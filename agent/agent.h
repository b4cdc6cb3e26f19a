/* The agent's state: one container, at most one link to the daemon. One thread. */
#pragma once

#include "agent/link.h"
#include "agent/log_writer.h"
#include "agent/message.h"
#include "agent/pause.h"
#include "agent/poller.h"
#include "agent/process.h"
#include "agent/table.h"

typedef enum SlAgentState {
    SL_AGENT_IDLE,
    SL_AGENT_STARTING, /* the runtime runs and has not reported yet; no hello is sent meanwhile */
    SL_AGENT_RUNNING,
    SL_AGENT_EXITED,
} SlAgentState;

struct SlAgent {
    char *container;
    char *token;
    SlPoller *poller;
    SlSource listener, signals;
    SlAgentState state;
    bool is_ending; /* shutdown was asked for */
    bool is_done;   /* main leaves its loop */

    SlAgentLink *link;    /* the one that counts, or NULL */
    GPtrArray *links;     /* owned: all, those in their handshake as well */
    uint64_t link_serial; /* counts links that were opened: an answer goes only to the link that asked */
    bool is_hello_due;
    SlDeadline lonely; /* idle without a link: ends the agent */

    SlRequest start; /* of the current or last run */
    int root_fd;
    SlTable table;
    SlProcess *first; /* the container's process; stays after its exit until the next start */
    SlPause pause;
    GPtrArray *execs; /* owned SlProcess: running ones, and the latest that ended */
    SlDeadline kill_again;
    unsigned n_kills; /* rounds since the first process ended */

    SlLogWriter *log;
    SlDeadline log_retry;
    uint64_t told_length; /* in the last GROWN or hello */
    bool is_grown_open;   /* a GROWN waits for its SEEN */
};

/* control.c: what is said to the daemon, and what it says. */

/* A link was opened: hello, now or when the start in progress is settled. */
void sl_agent_opened(SlAgent *agent);
/* The link is gone, and no other took its place. */
void sl_agent_link_lost(SlAgent *agent);
/* Output that waited for the link may go on. */
void sl_agent_link_has_room(SlAgent *agent);
/* A whole message. False: the daemon broke the protocol, the link ends. */
bool sl_agent_message(SlAgent *agent, bool is_binary, const uint8_t *data, size_t n);
void sl_agent_say_hello_if_due(SlAgent *agent);
/* Answers go to the link that asked, or nowhere. */
void sl_agent_answer_started(SlAgent *agent, const SlProcess *process);
void sl_agent_answer_failed(SlAgent *agent, const SlProcess *process);
void sl_agent_tell_exited(SlAgent *agent, const SlProcess *process);
/* The log grew. */
void sl_agent_tell_grown(SlAgent *agent);
void sl_agent_send_frame(SlAgent *agent, SlAgentFrameType type, uint32_t channel, uint64_t offset,
                         const void *data, size_t n);
/* The members of an `exited` message. */
json_t *sl_agent_exit_json(SlAgent *agent, const SlProcess *process);

/* container.c: the run of the container as a whole. */

/* Takes request's contents. The answer comes later, unless it fails. */
bool sl_agent_start(SlAgent *agent, SlRequest *request, GError **error);
bool sl_agent_exec(SlAgent *agent, SlRequest *request, GError **error);
/* By channel; NULL when there is none. */
SlProcess *sl_agent_process(SlAgent *agent, uint32_t channel);
/* Looks for children that ended. */
void sl_agent_reap(SlAgent *agent);
void sl_agent_process_started(SlAgent *agent, SlProcess *process);
/* It is over, or never was: has_failed. */
void sl_agent_process_ended(SlAgent *agent, SlProcess *process);
/* The log cannot be written now; it is tried again by and by. */
void sl_agent_log_stuck(SlAgent *agent);
bool sl_agent_pause(SlAgent *agent, GError **error);
bool sl_agent_unpause(SlAgent *agent, GError **error);
/* Kills everything; the agent ends when it is gone. */
void sl_agent_shutdown(SlAgent *agent);
/* Frees what belongs to the run. */
void sl_agent_clear_run(SlAgent *agent);

/* top.c: the answer to `top`, without its id. */
json_t *sl_agent_top(SlAgent *agent);
