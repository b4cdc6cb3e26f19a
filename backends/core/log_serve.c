#include "backends/core/log_internal.h"

#include "backends/core/log_lines.h"

#include <stdatomic.h>

/* One GET /containers/{id}/logs. */
typedef struct Serving {
    atomic_int refs; /* the feed's and the handler's */
    SlLogSeat seat;
    SlLogLines *lines; /* NULL: the files as they stand, from at on */
    uint64_t at;
    bool
        is_glance; /* at a run that goes on: ends where the log ended, shows no line that is still being written */
} Serving;

static void
serving_unref(Serving *serving)
{
    if (atomic_fetch_sub(&serving->refs, 1) != 1)
        return;
    sl_log_seat_leave(&serving->seat);
    g_clear_pointer(&serving->lines, sl_log_lines_free);
    g_free(serving);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Serving, serving_unref)

static SlPull
pull_range(Serving *serving, uint64_t limit, SlPiece *ret_piece)
{
    SlLogPart part;

    if (serving->at >= limit ||
        sl_log_seat_find(&serving->seat, serving->at, &part, &serving->at) != SL_LOG_PLACE_FOUND ||
        serving->at >= limit)
        return SL_PULL_END;
    sl_log_seat_passed(&serving->seat, serving->at);
    limit = MIN(limit, part.end);
    *ret_piece =
        (SlPiece){ .file = part.fd, .offset = (off_t)(serving->at - part.base), .n = limit - serving->at };
    serving->at = limit;
    return SL_PULL_PIECE;
}

static SlPull
pull_lines(Serving *serving, uint64_t limit, bool is_final, SlPiece *ret_piece)
{
    const void *data;
    size_t n;

    switch (sl_log_lines_next(serving->lines, limit, is_final && !serving->is_glance, &data, &n)) {
    case SL_LOG_STEP_BLOCK:
        *ret_piece = (SlPiece){ .data = data, .n = n };
        return SL_PULL_PIECE;
    case SL_LOG_STEP_MORE:
        sl_log_seat_kick(&serving->seat);
        return SL_PULL_WAIT;
    case SL_LOG_STEP_WAIT:
        return serving->is_glance ? SL_PULL_END : SL_PULL_WAIT;
    case SL_LOG_STEP_END:
        break;
    }
    return SL_PULL_END;
}

static SlLogPlace
find_part(void *user, uint64_t offset, SlLogPart *ret_part, uint64_t *ret_offset)
{
    return sl_log_seat_find(user, offset, ret_part, ret_offset);
}

static SlPull
serving_pull(void *user, SlPiece *ret_piece)
{
    Serving *serving = user;
    bool is_final;
    uint64_t limit = sl_log_seat_limit(&serving->seat, &is_final);

    if (limit == 0)
        return is_final ? SL_PULL_END : SL_PULL_WAIT;
    if (!serving->lines)
        return pull_range(serving, limit, ret_piece);
    sl_log_seat_passed(&serving->seat, sl_log_lines_at(serving->lines));
    return pull_lines(serving, limit, is_final, ret_piece);
}

static void
serving_done(void *user, bool is_broken)
{
    serving_unref(user);
}

static const SlFeedOps serving_ops = { .pull = serving_pull, .done = serving_done };

static bool
is_plain(const SlLogQuery *query, bool has_tty)
{
    return query->stdout_ && (query->stderr_ || has_tty) && !query->follow && !query->timestamps &&
           !query->details && query->since_ns == 0 && query->until_ns == 0 && query->tail < 0;
}

/* A line that is still being written is no line while the run goes on, so only a sealed log is sent as it stands. */
static Serving *
serving_new(SlLog *log, const SlLogQuery *query, GError **error)
{
    bool has_tty = sl_log_has_tty(log), is_running;
    Serving *serving = g_new0(Serving, 1);
    uint64_t length;

    serving->refs = 1;
    if (!sl_log_seat_take(&serving->seat, log, query->follow ? SL_LOG_FOLLOW_RUNNING : SL_LOG_FOLLOW_NOT,
                          &length, &is_running, error)) {
        g_free(serving);
        return NULL;
    }
    if (is_plain(query, has_tty) && !is_running)
        return serving;
    serving->is_glance = is_running && !query->follow;
    serving->lines = sl_log_lines_new(query, has_tty);
    sl_log_lines_set_source(serving->lines, find_part, &serving->seat);
    sl_log_lines_seek(serving->lines, length, !is_running);
    return serving;
}

bool
sl_log_serve(SlLog *log, SlCall *call, const char *content_type, const SlLogQuery *query, GError **error)
{
    g_autoptr(Serving) serving = serving_new(log, query, error);
    g_autoptr(SlFeed) feed = NULL;

    if (!serving)
        return false;
    atomic_fetch_add(&serving->refs, 1);
    feed = sl_call_feed(call, SL_FRAMING_CHUNKED, content_type, &serving_ops, serving, error);
    if (!feed) {
        atomic_fetch_sub(&serving->refs, 1);
        return false;
    }
    sl_log_seat_set_feed(&serving->seat, feed);
    return true;
}
