/*
 * A container's network (DESIGN §6a). TCP and UDP endpoints are unix sockets in a folder of the container's,
 * named "IP:PORT:tcp" and "IP:PORT:udp"; 0.0.0.0 stands for all its addresses. Real sockets only go outward.
 *
 * The supervisor makes and changes, while containers run, below one folder for all (--network):
 *
 *   config/NAME          of the endpoint NAME (--endpoint), a line each:
 *                          interface eth0 FOLDER ADDRESS/PREFIX GATEWAY MAC outside|internal NETWORK names|-
 *                          outside                    the world outside is reached, though by no interface
 *                          nameserver ADDRESS PORT    who is asked for names of the outside, in this order
 *   endpoints/NAME/      the unix sockets; the only place where a sandbox makes files
 *   FOLDER/at/ADDRESS    symlink to ../../endpoints/NAME: who has this address on the network
 *   FOLDER/names/NAME    its addresses, separated by spaces; in lower case
 *   FOLDER/ptr/ADDRESS   its name
 *   subnets              ADDRESS/PREFIX of every network, a line each: none of them is outside
 *
 * Addresses and ports are in host byte order. Calls answer 0 or more, or -errno.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

enum {
    SL_NET_MAX_INTERFACES = 16,
    SL_NET_MAX_NAMESERVERS = 3,
    SL_NET_MAX_ANSWER = 1232, /* bytes of a DNS message, as resolvers without EDNS expect it at most */
};

#define SL_NET_LOOPBACK UINT32_C(0x7f000001)
#define SL_NET_RESOLVER UINT32_C(0x7f00000b) /* 127.0.0.11, as Docker's */

typedef struct SlNetAddress {
    uint32_t ip;
    uint16_t port;
} SlNetAddress;

typedef struct SlNetInterface {
    char name[16], folder[72], network[160];
    uint32_t address, gateway;
    int prefix;
    uint8_t mac[6];
    bool is_internal, has_names;
} SlNetInterface;

typedef struct SlNetConfig {
    SlNetInterface interface[SL_NET_MAX_INTERFACES];
    int n_interfaces;
    SlNetAddress nameserver[SL_NET_MAX_NAMESERVERS];
    int n_nameservers;
    bool has_outside;
} SlNetConfig;

/* ---- net_config.c ---- */

/* Before the lockdown; false sets errno. Without it there is no network at all. */
bool sl_net_start(const char *folder, const char *endpoint, bool may_leave);
bool sl_net_is_there(void);
bool sl_net_may_leave(void);
/* Descriptors of both folders, or -1. */
int sl_net_folder_fd(void);
int sl_net_endpoint_fd(void);
/* As it is now: a network may have been joined or left. */
const SlNetConfig *sl_net_config(void);
/* A small file below the folder, NUL-terminated; its length or -errno. */
int sl_net_read_file(const char *path, char *to, size_t size);

typedef enum SlNetWhere { SL_NET_SELF, SL_NET_NEIGHBOUR, SL_NET_OUTSIDE, SL_NET_NOWHERE } SlNetWhere;

typedef struct SlNetRoute {
    SlNetWhere where;
    int error;       /* NOWHERE: the -errno */
    uint32_t source; /* our address on that way */
    uint32_t target; /* 0.0.0.0 was taken as this machine */
    char folder[96]; /* SELF, NEIGHBOUR: where the target's sockets are, below --network's folder */
    char scope[72];  /* SELF, NEIGHBOUR: within it addresses are unique */
} SlNetRoute;

SlNetRoute sl_net_route(uint32_t target);
/* Whether the container has this address: one of the loopback's or an interface's. */
bool sl_net_is_own(uint32_t ip);
/* Whether somebody has the route's target. */
bool sl_net_is_inhabited(const SlNetRoute *route);

/* ---- net_names.c: sockets' names in the kernel ---- */

/* Names fd after address in the endpoint's folder. With port 0 a free one is chosen. -EADDRINUSE when an open
 * socket has the name, or an overlapping one. */
int sl_net_bind(int fd, int type, SlNetAddress *address);
void sl_net_unbind(int type, SlNetAddress address);
/* Unless some other descriptor or process has the socket. */
void sl_net_unbind_unused(int type, SlNetAddress address);
/* The two names that a socket at address may have: its own and that of 0.0.0.0; false after the second. */
bool sl_net_name_at(const SlNetRoute *route, int type, SlNetAddress address, int which,
                    struct sockaddr_un *ret_name);
/* A client's name tells the server who it is: source and target. With port 0 a free one is chosen. */
int sl_net_name_client(int fd, const SlNetRoute *route, SlNetAddress *source, SlNetAddress target);
bool sl_net_parse_client(const struct sockaddr_un *name, socklen_t length, SlNetAddress *ret_source,
                         SlNetAddress *ret_target);
uint16_t sl_net_any_port(void);
/* Whether an open socket has that name in our folder. */
bool sl_net_is_open(int type, SlNetAddress address);

/* ---- net_table.c: the guest's sockets by descriptor; a fork has its own copy ---- */

typedef enum SlNetKind { SL_NET_TCP = 1, SL_NET_UDP, SL_NET_ICMP, SL_NET_LINK } SlNetKind;

typedef struct SlNetSocket {
    uint8_t kind;        /* SlNetKind; 0: none of ours */
    bool is_raw;         /* ICMP with its IP header */
    bool is_outside;     /* a socket of the host's network */
    bool is_bound;       /* has the name of local in our folder */
    bool is_port_chosen; /* by us, not by the guest */
    bool is_named;       /* has a client's name */
    bool is_listening, is_connected;
    SlNetAddress local, peer;
} SlNetSocket;

/* NULL: none of ours. */
SlNetSocket *sl_net_socket(uint32_t fd);
SlNetSocket *sl_net_socket_add(int fd, SlNetKind kind);
/* Closes one of the guest's descriptors, and gives up the name of a socket that nobody has any more. */
int32_t sl_net_close(uint32_t fd);
/* The process ends: the same for all that it has. */
void sl_net_close_all(void);
/* The descriptor is a copy of another now. */
void sl_net_socket_copy(uint32_t from, int to);
/* A fresh socket under the same number, flags kept. What it had been is closed here. */
int sl_net_socket_replace(int fd, SlNetSocket *socket, bool is_outside);
/* Messages on this descriptor need sl_net_send and sl_net_receive. */
bool sl_net_has_frames(uint32_t fd);

/* ---- net_stream.c ---- */

int32_t sl_net_stream_connect(int fd, SlNetSocket *socket, SlNetAddress to);
int32_t sl_net_stream_listen(int fd, SlNetSocket *socket, int backlog);
int32_t sl_net_stream_accept(int fd, int flags, SlNetAddress *ret_peer);

/* ---- net_datagram.c ---- */

typedef struct SlNetMessage {
    struct iovec *iov;
    size_t n_iov;
    int flags; /* host's; after receiving: msg_flags */
    bool has_address;
    SlNetAddress address; /* whereto, or from where */
} SlNetMessage;

int32_t sl_net_datagram_connect(int fd, SlNetSocket *socket, SlNetAddress to);
int32_t sl_net_send(int fd, SlNetSocket *socket, const SlNetMessage *message);
int32_t sl_net_receive(int fd, SlNetSocket *socket, SlNetMessage *message);
/* Puts bytes into fd's own queue, as if source had sent them. */
int32_t sl_net_deliver(int fd, SlNetSocket *socket, SlNetAddress source, const void *bytes, size_t n);

/* ---- sockets.c ---- */

/* read() and write() of a socket that sl_net_has_frames. */
int32_t sl_net_transfer(uint32_t fd, bool is_write, struct iovec *iov, size_t n);

/* ---- net_dns.c ---- */

/* Answers a DNS query of n bytes: by the networks' names, or by the outside's name servers, waiting for them. The
 * answer's length; 0: none; SL_RESTART. */
int32_t sl_net_resolve(const uint8_t *query, size_t n, uint8_t answer[SL_NET_MAX_ANSWER]);

/* ---- net_icmp.c ---- */

/* Answers an echo request to somebody who is there. */
int32_t sl_net_ping(int fd, SlNetSocket *socket, const SlNetMessage *message);
