#include "backends/core/detach_keys.h"

#include <string.h>

static bool
key_byte(const char *name, char *ret_byte)
{
    static const char specials[] = "@[\\]^_";

    if (name[0] && !name[1]) {
        *ret_byte = name[0];
        return true;
    }
    if (!g_str_has_prefix(name, "ctrl-") || !name[5] || name[6])
        return false;
    if (g_ascii_islower(name[5]))
        *ret_byte = (char)(name[5] - 'a' + 1);
    else if (strchr(specials, name[5]))
        *ret_byte = (char)(name[5] - '@');
    else
        return false;
    return true;
}

bool
sl_detach_keys_parse(const char *text, SlDetachKeys *ret_keys, GError **error)
{
    g_auto(GStrv) names = g_strsplit(text && *text ? text : "ctrl-p,ctrl-q", ",", -1);
    SlDetachKeys keys = { .n = g_strv_length(names) };

    if (keys.n > SL_DETACH_KEYS_MAX)
        return sl_fail(error, SL_ERROR_INVALID, "Invalid detach keys (%s) provided", text);
    for (size_t i = 0; i < keys.n; i++)
        if (!key_byte(names[i], &keys.bytes[i]))
            return sl_fail(error, SL_ERROR_INVALID, "Invalid detach keys (%s) provided", text);
    *ret_keys = keys;
    return true;
}

size_t
sl_detach_keys_push(SlDetachKeys *keys, SlChannel *channel, const char *data, size_t n, bool *ret_detach)
{
    size_t done = 0;

    if (keys->n == 0)
        return sl_channel_push(channel, data, n);
    while (done < n) {
        const char *first;
        size_t run, taken;

        if (data[done] == keys->bytes[keys->n_matched]) {
            done++;
            if (++keys->n_matched < keys->n)
                continue;
            keys->n_matched = 0;
            *ret_detach = true;
            return n;
        }
        if (keys->n_matched > 0) { /* it was not the sequence: what was held back goes first */
            if (sl_channel_room(channel) < keys->n_matched)
                return done;
            sl_channel_push(channel, keys->bytes, keys->n_matched);
            keys->n_matched = 0;
            continue;
        }
        first = memchr(data + done, keys->bytes[0], n - done);
        run = first ? (size_t)(first - data) - done : n - done;
        taken = sl_channel_push(channel, data + done, run);
        done += taken;
        if (taken < run)
            return done;
    }
    return done;
}
