/* The resolver at 127.0.0.11: names of the container's networks are answered here, others by the host's servers. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/net.h"
#include "sandbox/signals.h"

enum {
    HEAD = 12,
    NAME_MAX_CHARS = 253,
    LABEL_MAX = 63,
    MAX_ADDRESSES = 32,
    TTL_S = 600,
    WAIT_S = 3, /* for each server */
    TYPE_A = 1,
    TYPE_PTR = 12,
    TYPE_ANY = 255,
    NO_ERROR = 0,
    SERVER_FAILED = 2,
    NO_SUCH_NAME = 3,
};

typedef struct Question {
    char name[NAME_MAX_CHARS + 1]; /* lower case, without a dot at its end */
    uint16_t type;
    size_t length; /* of head and question together */
} Question;

typedef struct Answer {
    uint8_t *bytes;
    size_t length;
    uint16_t n;
} Answer;

static uint16_t
get16(const uint8_t *from)
{
    return (uint16_t)(from[0] << 8 | from[1]);
}

static void
put16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

/* Names become file names: only letters that host names have, and no empty label. */
static bool
parse_question(const uint8_t *query, size_t n, Question *question)
{
    size_t at = HEAD, chars = 0;

    if (n < HEAD || query[2] & 0xf8 || get16(query + 4) != 1)
        return false;
    while (at < n && query[at]) {
        size_t length = query[at++];

        if (length > LABEL_MAX || length > n - at || chars + length + 1 > NAME_MAX_CHARS)
            return false;
        if (chars)
            question->name[chars++] = '.';
        for (size_t i = 0; i < length; i++) {
            int c = tolower(query[at + i]);

            if (!isalnum(c) && c != '-' && c != '_')
                return false;
            question->name[chars++] = (char)c;
        }
        at += length;
    }
    if (n - at < 5 || chars == 0)
        return false;
    question->name[chars] = '\0';
    question->type = get16(query + at + 1);
    question->length = at + 5;
    return get16(query + at + 3) == 1;
}

/* ---- names of the networks ---- */

static void
add_record(Answer *answer, uint16_t type, const uint8_t *data, size_t n)
{
    uint8_t *to = answer->bytes + answer->length;

    if (answer->length + 12 + n > SL_NET_MAX_ANSWER)
        return;
    put16(to, 0xc000 | HEAD); /* the question's name */
    put16(to + 2, type);
    put16(to + 4, 1);
    put16(to + 6, 0);
    put16(to + 8, TTL_S);
    put16(to + 10, (uint16_t)n);
    memcpy(to + 12, data, n);
    answer->length += 12 + n;
    answer->n++;
}

/* Addresses of name on one network; "web.backend" is "web" of the network "backend". */
static bool
look_up(const SlNetInterface *interface, const char *name, char *text, size_t size)
{
    char path[sizeof interface->folder + NAME_MAX_CHARS + 16];
    size_t length = strlen(name), suffix = strlen(interface->network);

    snprintf(path, sizeof path, "%s/names/%s", interface->folder, name);
    if (sl_net_read_file(path, text, size) > 0)
        return true;
    if (length <= suffix + 1 || name[length - suffix - 1] != '.' ||
        strcasecmp(name + length - suffix, interface->network) != 0)
        return false;
    snprintf(path, sizeof path, "%s/names/%.*s", interface->folder, (int)(length - suffix - 1), name);
    return sl_net_read_file(path, text, size) > 0;
}

/* Whether the name is one of ours, of whatever type the question is. */
static bool
answer_name(const Question *question, Answer *answer)
{
    const SlNetConfig *config = sl_net_config();
    char text[1024], *rest = text;

    for (int i = 0; i < config->n_interfaces; i++) {
        if (!config->interface[i].has_names ||
            !look_up(&config->interface[i], question->name, text, sizeof text))
            continue;
        if (question->type != TYPE_A && question->type != TYPE_ANY)
            return true;
        for (char *word; answer->n < MAX_ADDRESSES && (word = strsep(&rest, " \n"));) {
            struct in_addr address;

            if (inet_pton(AF_INET, word, &address) == 1)
                add_record(answer, TYPE_A, (uint8_t *)&address, sizeof address);
        }
        return true;
    }
    return false;
}

/* "web" as labels; its length, 0 when it is no name. */
static size_t
put_name(uint8_t *to, const char *name)
{
    size_t at = 0;

    while (*name) {
        size_t length = strcspn(name, ".\n");

        if (length == 0 || length > LABEL_MAX)
            return 0;
        to[at++] = (uint8_t)length;
        memcpy(to + at, name, length);
        at += length;
        name += length + (name[length] != '\0');
    }
    to[at] = 0;
    return at + 1;
}

static bool
answer_address(const Question *question, Answer *answer)
{
    const SlNetConfig *config = sl_net_config();
    char path[160], text[NAME_MAX_CHARS + 2];
    uint8_t name[NAME_MAX_CHARS + 8];
    unsigned part[4];
    int end = 0;
    size_t n;

    if (question->type != TYPE_PTR ||
        sscanf(question->name, "%3u.%3u.%3u.%3u.in-addr.arpa%n", &part[3], &part[2], &part[1], &part[0],
               &end) != 4 ||
        !end || question->name[end])
        return false;
    for (int i = 0; i < config->n_interfaces; i++) {
        if (!config->interface[i].has_names)
            continue;
        snprintf(path, sizeof path, "%s/ptr/%u.%u.%u.%u", config->interface[i].folder, part[0], part[1],
                 part[2], part[3]);
        if (sl_net_read_file(path, text, sizeof text) <= 0 || (n = put_name(name, text)) == 0)
            continue;
        add_record(answer, TYPE_PTR, name, n);
        return true;
    }
    return false;
}

/* ---- the outside ---- */

static int64_t
now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* One answer to this query, whose number and question it repeats. 0: none in time. */
static int32_t
wait_for_answer(int fd, const uint8_t *query, const Question *question, uint8_t *answer)
{
    int64_t until = now_ms() + WAIT_S * 1000;

    for (int64_t left; (left = until - now_ms()) > 0;) {
        struct pollfd wait = { fd, POLLIN, 0 };
        struct timespec timeout = { left / 1000, left % 1000 * 1000000 };
        long result = sl_blocking_call(SYS_ppoll, (long)&wait, 1, (long)&timeout, 0, 0, 0);
        ssize_t n;

        if (result < 0 && result != -EINTR)
            return (int32_t)result;
        n = result > 0 ? recv(fd, answer, SL_NET_MAX_ANSWER, MSG_DONTWAIT) : -1;
        if (result > 0 && n < 0 && errno != EAGAIN)
            return 0; /* nobody listens there */
        if (n >= (ssize_t)question->length && memcmp(answer, query, 2) == 0 && answer[2] & 0x80 &&
            memcmp(answer + HEAD, query + HEAD, question->length - HEAD) == 0)
            return (int32_t)n;
    }
    return 0;
}

static int32_t
ask(SlNetAddress server, const uint8_t *query, size_t n, const Question *question, uint8_t *answer)
{
    struct sockaddr_in name = { .sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(server.ip),
                                .sin_port = htons(server.port) };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int32_t result = 0;

    if (fd < 0)
        return 0;
    if (connect(fd, (struct sockaddr *)&name, sizeof name) == 0 && send(fd, query, n, 0) == (ssize_t)n)
        result = wait_for_answer(fd, query, question, answer);
    close(fd);
    return result;
}

/* Without a way out there is nothing but our own names. */
static int32_t
ask_outside(const uint8_t *query, size_t n, const Question *question, uint8_t *answer, int *ret_code)
{
    const SlNetConfig *config = sl_net_config();
    int32_t result = 0;

    *ret_code = config->has_outside && config->n_nameservers ? SERVER_FAILED : NO_SUCH_NAME;
    for (int i = 0; config->has_outside && i < config->n_nameservers && result == 0; i++)
        result = ask(config->nameserver[i], query, n, question, answer);
    return result;
}

int32_t
sl_net_resolve(const uint8_t *query, size_t n, uint8_t bytes[SL_NET_MAX_ANSWER])
{
    Answer answer = { .bytes = bytes };
    Question question;
    int code = NO_ERROR;

    if (!parse_question(query, n, &question))
        return 0;
    answer.length = question.length;
    memcpy(bytes, query, question.length);
    if (!answer_name(&question, &answer) && !answer_address(&question, &answer)) {
        int32_t result = ask_outside(query, n, &question, bytes, &code);

        if (result != 0)
            return result;
        memcpy(bytes, query, question.length); /* scraps of others' answers */
        answer.length = question.length;
    }
    bytes[2] = (uint8_t)(0x80 | (query[2] & 1)); /* an answer; recursion desired as asked */
    bytes[3] = (uint8_t)(0x80 | code);
    put16(bytes + 6, answer.n);
    memset(bytes + 8, 0, 4);
    return (int32_t)answer.length;
}
