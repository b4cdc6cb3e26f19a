/*
 * What runs the guest's code. One engine is linked in; wasm2c's (engine_w2c.c) needs nothing beside the
 * program itself.
 *
 * Each call of the guest's arrives at sl_call(), with sl_guest_memory up to date.
 */
#pragma once

#include <stdint.h>

void sl_engine_start(void);

/* Prints the guest's memory before its first instruction: the build makes it part of the program. */
void sl_engine_print_memory(void);

/* Before each run: how far the guest's memory may grow. */
void sl_engine_set_memory_max(uint64_t bytes);

/*
 * Runs a fresh instance from its first instruction. Does not return when the guest exits. Returns a sentence
 * when it trapped, NULL when the guest left through sl_engine_exec().
 */
const char *sl_engine_run(void);

/* Leaves the running instance for good: sl_engine_run() returns NULL. */
_Noreturn void sl_engine_exec(void);
