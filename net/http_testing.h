/* For tests of the HTTP server: one on a unix socket and a TCP port of its own, and a client that speaks in
 * raw bytes. */
#pragma once

#include "net/http_server.h"

typedef struct TestServer {
    SlServer *server;
    SlLoop *relay_loop;
    SlRelay *relay;
    char *folder, *path;
    int port;
} TestServer;

/* config->relay is set here; everything else is as the caller gives it. */
void test_server_start(TestServer *self, SlServerConfig config);
void test_server_stop(TestServer *self);

/* A blocking socket whose reads fail after 10 s. */
int test_connect(TestServer *self, bool over_tcp);
void test_send(int fd, const char *text);
void test_send_bytes(int fd, const void *data, size_t n);
/* One reply: head and body, the chunked coding left in. A reply without either framing is read to its end.
 * Caller frees. */
char *test_receive(int fd);
/* The reply to a request without a body. */
char *test_receive_head(int fd);
/* All until the other side closes; a reset counts as such. */
char *test_receive_all(int fd);
/* test_send and test_receive on a new connection. */
char *test_ask(TestServer *self, bool over_tcp, const char *request);

void test_assert_contains(const char *text, const char *part);
void test_assert_starts(const char *text, const char *start);
