#include "agent/protocol.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>

static const char index_suffix[] = ".idx";

void
sl_log_name(uint64_t base, bool is_index, char name[SL_LOG_NAME_MAX])
{
    const char *suffix = is_index ? index_suffix : "";

    if (base == 0)
        snprintf(name, SL_LOG_NAME_MAX, "%s%s", SL_AGENT_LOG_NAME, suffix);
    else
        snprintf(name, SL_LOG_NAME_MAX, "%s.%016" G_GINT64_MODIFIER "x%s", SL_AGENT_LOG_NAME, base, suffix);
}

bool
sl_log_name_parse(const char *name, uint64_t *ret_base)
{
    size_t n_prefix = strlen(SL_AGENT_LOG_NAME);
    uint64_t base = 0;

    if (strcmp(name, SL_AGENT_LOG_NAME) == 0) {
        *ret_base = 0;
        return true;
    }
    if (strncmp(name, SL_AGENT_LOG_NAME ".", n_prefix + 1) != 0 || strlen(name) != n_prefix + 1 + 16)
        return false;
    for (const char *at = name + n_prefix + 1; *at; at++) {
        int digit = g_ascii_isupper(*at) ? -1 : g_ascii_xdigit_value(*at);

        if (digit < 0)
            return false;
        base = base << 4 | (unsigned)digit;
    }
    if (base == 0 || base > INT64_MAX)
        return false;
    *ret_base = base;
    return true;
}
