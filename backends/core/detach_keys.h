/* The keys that leave a terminal without ending what runs in it: `docker attach` and `docker exec`, ctrl-p ctrl-q when nothing else is said. */
#pragma once

#include "backends/core/channel.h"

enum { SL_DETACH_KEYS_MAX = 16 };

typedef struct SlDetachKeys {
    char bytes[SL_DETACH_KEYS_MAX];
    size_t n;         /* 0: no keys are looked for */
    size_t n_matched; /* held back: they may be the beginning */
} SlDetachKeys;

/* text: "ctrl-p,ctrl-q", "a,b"; NULL or "" is the default. Errors: SL_ERROR_INVALID. */
bool sl_detach_keys_parse(const char *text, SlDetachKeys *ret_keys, GError **error);
/* Pushes data into channel as it comes, without the keys. Returns how much is done with; *ret_detach: the keys were typed. Loop thread. */
size_t sl_detach_keys_push(SlDetachKeys *keys, SlChannel *channel, const char *data, size_t n,
                           bool *ret_detach);
