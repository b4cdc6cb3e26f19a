/*
 * Signals. The guest's handlers run in the guest (guest/signals.c); here are the kernel's dispositions, and
 * the bit that tells the guest.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * A system call that can block. Answers SL_RESTART at once when a signal waits for the guest's handler: also
 * when it comes between that test and the kernel, or when the kernel is about to restart the call.
 */
long sl_blocking_call(long number, long a, long b, long c, long d, long e, long f);

/* Every signal to its default, nothing blocked: what the sandbox inherited is not the guest's. */
void sl_signals_start(void);

/* The guest says where its pending words are; takes one of them back. */
int32_t sl_signals_attach(uint32_t at);
int32_t sl_signals_take(uint32_t number);

/* Around fork: nothing is delivered between the two. In the child, what waits for the parent is forgotten. */
void sl_signals_hold(void);
void sl_signals_release(bool in_child);

/* Around exec: true when a handler must run first. Afterwards handled signals are at their defaults. */
bool sl_signals_pending(void);
void sl_signals_exec(void);

/* For /proc/PID/status: bit n - 1 for signal n. */
void sl_signals_masks(uint64_t *ret_ignored, uint64_t *ret_handled);

/* Whether the guest ignores SIGCHLD, so that its children must be reaped without being asked. */
bool sl_signals_ignore_children(void);
/* Whether one of them ended since the last time. */
bool sl_signals_take_ended_children(void);

/* A signal mask of the guest's, without what the engine needs. */
uint64_t sl_signals_clean_mask(uint64_t mask);
