/* Echo requests within the networks: whoever has the address answers, as a kernel does for its machine. */
#include <errno.h>
#include <string.h>

#include "sandbox/abi.h"
#include "sandbox/net.h"

enum { ICMP_HEAD = 8, ICMP_ECHO = 8, ICMP_ECHO_REPLY = 0, IP_HEAD = 20, MAX_ECHO = 4096 };

static uint16_t
checksum(const uint8_t *bytes, size_t n)
{
    uint32_t sum = 0;

    for (size_t i = 0; i + 1 < n; i += 2)
        sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
    if (n & 1)
        sum += (uint32_t)bytes[n - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void
put16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static void
put32(uint8_t *to, uint32_t value)
{
    put16(to, (uint16_t)(value >> 16));
    put16(to + 2, (uint16_t)value);
}

static void
put_ip_head(uint8_t *to, size_t length, uint32_t source, uint32_t target)
{
    memset(to, 0, IP_HEAD);
    to[0] = 0x45;
    put16(to + 2, (uint16_t)length);
    to[8] = 64; /* hops */
    to[9] = 1;  /* ICMP */
    put32(to + 12, source);
    put32(to + 16, target);
    put16(to + 10, checksum(to, IP_HEAD));
}

int32_t
sl_net_ping(int fd, SlNetSocket *socket, const SlNetMessage *message)
{
    uint8_t packet[IP_HEAD + MAX_ECHO], *echo = packet + IP_HEAD;
    SlNetAddress to = message->has_address ? message->address : socket->peer;
    SlNetRoute route = sl_net_route(to.ip);
    size_t n = 0;
    int32_t result;

    if (!message->has_address && !socket->is_connected)
        return -EDESTADDRREQ;
    for (size_t i = 0; i < message->n_iov; i++) {
        if (message->iov[i].iov_len > MAX_ECHO - n)
            return -EMSGSIZE;
        memcpy(echo + n, message->iov[i].iov_base, message->iov[i].iov_len);
        n += message->iov[i].iov_len;
    }
    if (route.where == SL_NET_NOWHERE)
        return route.error;
    if (route.where == SL_NET_OUTSIDE)
        return -EPERM; /* the host lets nobody without privileges */
    if (n < ICMP_HEAD || echo[0] != ICMP_ECHO)
        return -EPERM;
    if (!sl_net_is_inhabited(&route))
        return -EHOSTUNREACH;
    echo[0] = ICMP_ECHO_REPLY;
    put16(echo + 2, 0);
    put16(echo + 2, checksum(echo, n));
    put_ip_head(packet, IP_HEAD + n, route.target, route.source);
    result = sl_net_deliver(fd, socket, (SlNetAddress){ route.target, 0 }, socket->is_raw ? packet : echo,
                            socket->is_raw ? IP_HEAD + n : n);
    return result < 0 && result != -EAGAIN ? result : (int32_t)n;
}
