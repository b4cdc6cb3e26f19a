/*
 * Addresses as users write them: unix:///path, tcp://host:port, http://host:port, host:port, :port, [::1]:port.
 *
 * An empty host is loopback: a daemon that gives root on the machine is not published by leaving something out. Port 0 in a
 * listen address takes a free one.
 */
#pragma once

#include "common/cancel.h"

typedef struct SlAddress {
    char *path; /* of a unix socket, or NULL */
    char *host; /* of TCP; "localhost" when none was given */
    int port;
} SlAddress;

/* Errors: SL_ERROR_INVALID, with text in the sentence. */
bool sl_address_parse(const char *text, SlAddress *ret_address, GError **error);
void sl_address_clear(SlAddress *address);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SlAddress, sl_address_clear)
/* "unix:///path" or "tcp://host:port", as DOCKER_HOST wants it. Caller frees. */
char *sl_address_format(const SlAddress *address);
/* Every address that host resolves to is loopback, or it is a unix socket. */
bool sl_address_is_loopback(const SlAddress *address);

/*
 * Listening sockets. A unix socket: mode 0660, group "docker" when that exists and we are root; a stale one (nobody accepts) is replaced, one
 * that answers is SL_ERROR_CONFLICT. TCP: SO_REUSEADDR; refused (SL_ERROR_INVALID) for a non-loopback address unless
 * allow_public. address->port is set to the real one. ret_fds: g_malloc'ed, ret_n of them (localhost: 127.0.0.1 and ::1 where both exist).
 */
bool sl_address_listen(SlAddress *address, bool allow_public, int **ret_fds, size_t *ret_n, GError **error);
/* Sockets passed by a supervisor (LISTEN_PID, LISTEN_FDS of systemd), made close-on-exec. 0 when there are none. */
size_t sl_address_take_passed(char **environ_, int **ret_fds);

/* A connected, non-blocking, close-on-exec socket; TCP with NODELAY. Errors: SL_ERROR_UNAVAILABLE, CANCELLED, DEADLINE. */
bool sl_address_connect(const SlAddress *address, SlCancel *cancel, int timeout_ms, int *ret_fd,
                        GError **error);
