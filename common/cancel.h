/*
 * A cancel object: fired once by somebody else (the client left, the server drains), polled by blocking calls.
 *
 * Every blocking function takes one (NULL: cannot be cancelled) and waits on its descriptor beside its own. It may also
 * carry a deadline. Reference counted; any thread.
 */
#pragma once

#include "common/error.h"

#include <stdint.h>

typedef struct SlCancel SlCancel;

SlCancel *sl_cancel_new(void);
SlCancel *sl_cancel_ref(SlCancel *cancel);
void sl_cancel_unref(SlCancel *cancel);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlCancel, sl_cancel_unref)

void sl_cancel_fire(SlCancel *cancel);
bool sl_cancel_is_fired(SlCancel *cancel);
/* Becomes readable when fired; made on first use, so that a call that never blocks costs no descriptor. -1 for NULL. */
int sl_cancel_fd(SlCancel *cancel);

/* Waits until fd has one of events (poll's), at most timeout_ms (-1: no limit).
 * Errors: SL_ERROR_CANCELLED, SL_ERROR_DEADLINE after timeout_ms. */
bool sl_cancel_wait_fd(SlCancel *cancel, int fd, short events, int timeout_ms, GError **error);
/* Sleeps. Errors: SL_ERROR_CANCELLED. */
bool sl_cancel_sleep(SlCancel *cancel, int duration_ms, GError **error);
