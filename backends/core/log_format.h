/* Turns what a container wrote into the entries that `docker logs` shows: lines, each in a frame of its own, by Docker's json-file rules. Pure. */
#pragma once

#include "backends/core/log_reader.h"
#include "net/stdcopy.h"

enum {
    SL_LOG_ENTRY_MAX = 16 * 1024, /* a longer line is as many entries */
    SL_LOG_BLOCK = 64 * 1024,     /* read and given out at once */
};

typedef struct SlLogFormat {
    SlLogQuery query; /* details_text is a copy */
    bool has_tty;
    bool is_counting;            /* entries are counted, not put out */
    bool is_past;                /* an entry was later than until: there is nothing more to show */
    int64_t skip;                /* entries that are left out first */
    uint64_t n_entries, n_lines; /* lines: entries that end with a line break */
    GByteArray *out;             /* NULL at rest */
    GByteArray *open_lines[3];   /* by stream: without their line break so far; NULL: empty */
    int64_t open_ns[3];          /* when they grew last */
    int64_t stamp_ns;            /* of stamp */
    char stamp[32];
} SlLogFormat;

void sl_log_format_init(SlLogFormat *format, const SlLogQuery *query, bool has_tty);
void sl_log_format_clear(SlLogFormat *format);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SlLogFormat, sl_log_format_clear)
/* Nothing put out, no line open. */
void sl_log_format_reset(SlLogFormat *format);
bool sl_log_format_wants(const SlLogFormat *format, SlStdStream stream);
/* Adds what a stream wrote at time_ns. Returns how much was taken: less than n when out holds SL_LOG_BLOCK or when is_past. */
size_t sl_log_format_add(SlLogFormat *format, SlStdStream stream, const uint8_t *data, size_t n,
                         int64_t time_ns);
/* Puts out what the daemon has to say: a frame of SL_STD_SYSTEM, or a bare line. */
void sl_log_format_say(SlLogFormat *format, const char *sentence);
/* Frees what nothing is in. */
void sl_log_format_rest(SlLogFormat *format);
/* The writer is gone: lines without a line break are entries too. */
void sl_log_format_finish(SlLogFormat *format);
