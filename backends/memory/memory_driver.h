/*
 * The memory backend: containers are processes of the WebAssembly sandbox on this machine, each with an agent of its own. No root, no Docker, no cloud.
 */
#pragma once

#include "backends/core/driver.h"

typedef struct MemoryConfig {
    char *agent;   /* path of sockerless-agent */
    char *sandbox; /* path of sockerless-sandbox */
    char *data;    /* where containers live: probed for what its filesystem can */
} MemoryConfig;

/* config is copied. Errors: SL_ERROR_INVALID naming a program that is not there. */
SlDriver *memory_driver_open(const MemoryConfig *config, GError **error);
