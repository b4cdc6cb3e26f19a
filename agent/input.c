#include "agent/input.h"

#include "agent/protocol.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

static size_t
n_queued(const SlInput *input)
{
    return input->queue->len - input->n_written;
}

static void
drop_queue(SlInput *input)
{
    g_byte_array_set_size(input->queue, 0);
    input->n_written = 0;
}

static void
update_window(SlInput *input)
{
    uint64_t up_to = input->received - n_queued(input) + SL_AGENT_WINDOW;

    if (up_to - input->granted < SL_AGENT_WINDOW / 2)
        return;
    input->granted = up_to;
    input->grant(input->user, up_to);
}

/* Writes what the process takes now. */
static size_t
write_some(SlInput *input, const uint8_t *data, size_t n)
{
    size_t done = 0;

    while (input->source.fd >= 0 && done < n) {
        ssize_t k = write(input->source.fd, data + done, n - done);

        if (k > 0)
            done += (size_t)k;
        else if (k < 0 && errno == EINTR)
            continue;
        else if (k < 0 && errno == EAGAIN)
            break;
        else
            sl_source_end(input->poller, &input->source); /* EPIPE: it reads no more */
    }
    return input->source.fd >= 0 ? done : n;
}

static void
settle(SlInput *input)
{
    if (input->source.fd < 0 || n_queued(input) == 0)
        drop_queue(input);
    if (input->is_ended && !input->is_terminal && n_queued(input) == 0)
        sl_source_end(input->poller, &input->source);
    sl_source_wait(input->poller, &input->source, n_queued(input) > 0 ? EPOLLOUT : 0);
    update_window(input);
}

static void
on_writable(void *user, uint32_t events)
{
    SlInput *input = user;

    input->n_written += write_some(input, input->queue->data + input->n_written, n_queued(input));
    if (input->n_written > SL_AGENT_WINDOW && input->n_written < input->queue->len) {
        g_byte_array_remove_range(input->queue, 0, (unsigned)input->n_written);
        input->n_written = 0;
    }
    settle(input);
}

void
sl_input_begin(SlInput *input, SlPoller *poller, int fd, bool is_terminal,
               void (*grant)(void *user, uint64_t up_to), void *user)
{
    *input = (SlInput){
        .poller = poller,
        .queue = g_byte_array_new(),
        .granted = SL_AGENT_WINDOW,
        .is_terminal = is_terminal,
        .grant = grant,
        .user = user,
    };
    sl_source_begin(&input->source, fd, on_writable, input);
}

bool
sl_input_data(SlInput *input, uint64_t offset, const uint8_t *data, size_t n)
{
    size_t n_known, n_done;

    if (offset > input->received || n > input->granted || offset > input->granted - n)
        return false;
    n_known = (size_t)MIN(n, input->received - offset);
    data += n_known;
    n -= n_known;
    if (input->is_ended)
        return n == 0;

    input->received += n;
    n_done = n_queued(input) == 0 ? write_some(input, data, n) : 0;
    g_byte_array_append(input->queue, data + n_done, (unsigned)(n - n_done));
    settle(input);
    return true;
}

void
sl_input_end(SlInput *input)
{
    input->is_ended = true;
    settle(input);
}

void
sl_input_close(SlInput *input)
{
    sl_source_end(input->poller, &input->source);
    if (input->queue)
        g_byte_array_unref(g_steal_pointer(&input->queue));
}
