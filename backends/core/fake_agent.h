/*
 * For tests: a core over a driver whose agents are a thread of this process. What the daemon asks is answered as an agent would that runs nothing; what a process
 * does is told by the test.
 */
#pragma once

#include "backends/core/container.h"

typedef struct FakeAgent FakeAgent;
typedef struct FakeCore {
    SlCore *core;
    char *folder;
    FakeAgent *agent;
} FakeCore;

FakeCore *fake_core_new(void);
/* Ends the core, and starts another on the same data: a daemon's restart. The agent stays what it was. */
void fake_core_restart(FakeCore *fake);
void fake_core_free(FakeCore *fake);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FakeCore, fake_core_free)

/* One in the core's index, as create would make it; config is JSON in create's form (NULL: {}). A reference. */
SlContainer *fake_container_new(FakeCore *fake, const char *config);
bool fake_container_start(SlContainer *container);

/* ---- what the agent does ---- */

/* The next start or exec fails with this; exit_code 0 for a reason that is none of the program's. */
void fake_agent_fail_next(FakeAgent *agent, int exit_code, const char *message);
/* The next connect finds nobody. */
void fake_agent_refuse_next(FakeAgent *agent);
/* With it on (as at first) SIGKILL ends the process with 137, at once. */
void fake_agent_set_mortal(FakeAgent *agent, bool is_mortal);
/* The process of channel ended. */
void fake_agent_exit(FakeAgent *agent, uint32_t channel, int exit_code);
void fake_agent_frame(FakeAgent *agent, SlAgentFrameType type, uint32_t channel, uint64_t offset,
                      const void *data, size_t n);
/* The link breaks; with is_dead the agent has gone, and the driver's poll says exit_code (-1: that nobody knows). */
void fake_agent_break(FakeAgent *agent, bool is_dead, int exit_code);
/* Waits until the daemon has said it: "start", "signal 15", "pause", "exec 1", "end 1 5", "data 0 0 hello", "window 1 393216", "shutdown" … Each is found once, in order; what
 * was said before it is forgotten. */
void fake_agent_expect(FakeAgent *agent, const char *said);
/* Whether it was said since the last expect. Asks nothing to wait: for what has an answer. */
bool fake_agent_heard(FakeAgent *agent, const char *said);
unsigned fake_agent_n_launches(FakeAgent *agent);

/* ---- waiting ---- */

/* Until condition holds; fails the test after ten seconds. */
void fake_until(bool (*condition)(void *user), void *user);
void fake_until_phase(SlContainer *container, SlPhase phase);
