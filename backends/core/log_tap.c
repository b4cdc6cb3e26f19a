#include "backends/core/log_internal.h"

#include "common/log.h"
#include "net/stdcopy.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
    BLOCK = 64 * 1024,
    LOOK_MAX = 16 * BLOCK, /* of frames that are not wanted, before others on the loop get their turn */
};

struct SlLogTap {
    SlLogSeat seat;
    bool stdout_, stderr_;
    uint64_t at;
    uint8_t *block; /* of frames, when only some are wanted; NULL at rest */
    char *last_word;
};

SlLogTap *
sl_log_tap_new(SlLog *log, bool stdout_, bool stderr_, bool from_start, bool stream, GError **error)
{
    SlLogTap *tap = g_new0(SlLogTap, 1);
    uint64_t length;
    bool is_running;

    if (!sl_log_seat_take(&tap->seat, log, stream ? SL_LOG_FOLLOW_NEXT : SL_LOG_FOLLOW_NOT, &length,
                          &is_running, error)) {
        g_free(tap);
        return NULL;
    }
    tap->stdout_ = stdout_;
    tap->stderr_ = stderr_;
    tap->at = from_start ? 0 : length;
    if (!from_start)
        sl_log_seat_skip(&tap->seat, length);
    return tap;
}

void
sl_log_tap_set_feed(SlLogTap *tap, SlFeed *feed)
{
    sl_log_seat_set_feed(&tap->seat, feed);
}

void
sl_log_tap_free(SlLogTap *tap)
{
    sl_log_seat_leave(&tap->seat);
    g_free(tap->block);
    g_free(tap->last_word);
    g_free(tap);
}

static bool
wants(const SlLogTap *tap, SlStdStream stream)
{
    return stream == SL_STD_ERR ? tap->stderr_ : stream == SL_STD_OUT && tap->stdout_;
}

/*
 * Squeezes block[0…n), which begins at a frame, down to the frames that are wanted and wholly there. ret_used: how far it
 * looked. False: it does not begin at a frame.
 */
static bool
keep_wanted(const SlLogTap *tap, uint8_t *block, size_t n, size_t *ret_used, size_t *ret_kept)
{
    size_t used = 0, kept = 0;

    while (n - used >= SL_STDCOPY_HEADER) {
        SlStdStream stream;
        uint32_t size;

        if (!sl_stdcopy_get_header(block + used, &stream, &size)) {
            if (used == 0)
                return false;
            break; /* what is good comes first */
        }
        if (n - used - SL_STDCOPY_HEADER < size)
            break;
        if (wants(tap, stream)) {
            memmove(block + kept, block + used, SL_STDCOPY_HEADER + size);
            kept += SL_STDCOPY_HEADER + size;
        }
        used += SL_STDCOPY_HEADER + size;
    }
    *ret_used = used;
    *ret_kept = kept;
    return true;
}

/* A frame that is larger than the block: from the file as it is, or skipped. False: not wholly there yet. */
static bool
take_large(SlLogTap *tap, const SlLogPart *part, uint64_t limit, SlPiece *ret_piece)
{
    SlStdStream stream;
    uint32_t size;

    sl_stdcopy_get_header(tap->block, &stream, &size); /* keep_wanted has seen that it is one */
    if (limit - tap->at - SL_STDCOPY_HEADER < size)
        return false;
    if (wants(tap, stream))
        *ret_piece = (SlPiece){ .file = part->fd,
                                .offset = (off_t)(tap->at - part->base),
                                .n = SL_STDCOPY_HEADER + size };
    tap->at += SL_STDCOPY_HEADER + size;
    return true;
}

/* The stream's end, with a reason that the client shows as an error; a terminal's stream has no place for one. */
static SlPull
end_with(SlLogTap *tap, char *sentence /* taken */, SlPiece *ret_piece)
{
    size_t n = strlen(sentence);

    sl_warn("an attach ends early offset=%" G_GUINT64_FORMAT " reason=\"%s\"", tap->at, sentence);
    if (tap->last_word || sl_log_has_tty(tap->seat.log)) {
        g_free(sentence);
        return SL_PULL_END;
    }
    tap->last_word = g_malloc(SL_STDCOPY_HEADER + n + 1);
    sl_stdcopy_put_header((uint8_t *)tap->last_word, SL_STD_SYSTEM, (uint32_t)n + 1);
    memcpy(tap->last_word + SL_STDCOPY_HEADER, sentence, n);
    tap->last_word[SL_STDCOPY_HEADER + n] = '\n';
    g_free(sentence);
    *ret_piece = (SlPiece){ .data = tap->last_word, .n = SL_STDCOPY_HEADER + n + 1 };
    return SL_PULL_PIECE;
}

static SlPull
damaged(SlLogTap *tap, SlPiece *ret_piece)
{
    return end_with(tap, g_strdup_printf("the log is damaged at byte %" G_GUINT64_FORMAT, tap->at),
                    ret_piece);
}

/* limit: of part; is_sealed: nothing is written behind it. */
static SlPull
pull_frames(SlLogTap *tap, const SlLogPart *part, uint64_t limit, bool is_sealed, SlPiece *ret_piece)
{
    uint64_t begin = tap->at;

    if (!tap->block)
        tap->block = g_malloc(BLOCK);
    *ret_piece = (SlPiece){ 0 };
    while (ret_piece->n == 0 && tap->at < limit) {
        size_t wanted = MIN(BLOCK, limit - tap->at), used, kept;
        ssize_t got = pread(part->fd, tap->block, wanted, (off_t)(tap->at - part->base));

        if (tap->at - begin >= LOOK_MAX) {
            sl_log_seat_kick(&tap->seat);
            return SL_PULL_WAIT;
        }
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 || !keep_wanted(tap, tap->block, (size_t)got, &used, &kept))
            return damaged(tap, ret_piece);
        tap->at += used;
        if (kept > 0)
            *ret_piece = (SlPiece){ .data = tap->block, .n = kept };
        else if (used == 0 && (got < SL_STDCOPY_HEADER || !take_large(tap, part, limit, ret_piece)))
            return is_sealed ? damaged(tap, ret_piece) : SL_PULL_WAIT; /* a frame that is not wholly there */
    }
    if (ret_piece->n == 0)
        sl_log_seat_kick(&tap->seat);
    return ret_piece->n > 0 ? SL_PULL_PIECE : SL_PULL_WAIT;
}

static SlPull
wait_or_end(SlLogTap *tap, bool is_final)
{
    g_clear_pointer(&tap->block, g_free);
    return is_final ? SL_PULL_END : SL_PULL_WAIT;
}

SlPull
sl_log_tap_pull(SlLogTap *tap, SlPiece *ret_piece)
{
    bool is_final, has_tty = sl_log_has_tty(tap->seat.log);
    uint64_t limit = sl_log_seat_limit(&tap->seat, &is_final), next;
    bool is_nothing_wanted = has_tty ? !tap->stdout_ : !tap->stdout_ && !tap->stderr_;
    SlLogPart part;

    if (tap->last_word)
        return SL_PULL_END;
    if (is_nothing_wanted && limit > tap->at)
        tap->at = limit;
    sl_log_seat_passed(&tap->seat, tap->at);
    if (tap->at >= limit)
        return wait_or_end(tap, is_final);
    switch (sl_log_seat_find(&tap->seat, tap->at, &part, &next)) {
    case SL_LOG_PLACE_FOUND:
        break;
    case SL_LOG_PLACE_NONE:
        return wait_or_end(tap, is_final);
    case SL_LOG_PLACE_LOST:
        return end_with(tap,
                        g_strdup_printf("%" G_GUINT64_FORMAT
                                        " bytes of output are lost: this client read too slowly",
                                        next - tap->at),
                        ret_piece);
    }
    tap->at = next;
    limit = MIN(limit, part.end);
    if (tap->at >= limit)
        return wait_or_end(tap, is_final);
    if (!has_tty && !(tap->stdout_ && tap->stderr_))
        return pull_frames(tap, &part, limit, is_final || limit == part.end, ret_piece);

    *ret_piece = (SlPiece){ .file = part.fd, .offset = (off_t)(tap->at - part.base), .n = limit - tap->at };
    tap->at = limit;
    return SL_PULL_PIECE;
}
