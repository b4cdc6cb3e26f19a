#include "backends/core/fake_agent.h"

#include "common/clock.h"
#include "common/fd.h"
#include "common/id.h"
#include "common/thread.h"
#include "net/ws.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DEADLINE_MS = 10 * 1000, LOOK_MS = 2, PID = 4242 };

/* One connection, served by a thread of its own until it ends. */
typedef struct Link {
    FakeAgent *agent;
    int fd;
    SlWs *ws;
    GString *head; /* the request, until it is whole; NULL then */
    pthread_t thread;
} Link;

struct FakeAgent {
    pthread_mutex_t lock;
    GPtrArray *links; /* owned; the last is the one that counts */
    GPtrArray *said;  /* of char * */
    bool is_running, is_paused, is_mortal, refuses_next, is_dead;
    int exit_code; /* of the dead; -1: not known */
    int fail_code;
    char *fail_message;
    unsigned n_launches;
};

typedef struct FakeDriver {
    SlDriver base;
    FakeAgent *agent; /* borrowed */
} FakeDriver;

/* ---- the wire; agent->lock is held ---- */

static void
flush(Link *link)
{
    const uint8_t *data;

    for (size_t n; link->fd >= 0 && (n = sl_ws_peek(link->ws, &data)) > 0;) {
        ssize_t sent = send(link->fd, data, n, MSG_NOSIGNAL);

        if (sent < 0)
            return;
        sl_ws_wrote(link->ws, (size_t)sent);
    }
}

static void
send_json(Link *link, json_t *json /* taken */)
{
    g_autofree char *text = json_dumps(json, JSON_COMPACT);

    sl_ws_send(link->ws, false, NULL, 0, text, strlen(text));
    json_decref(json);
    flush(link);
}

static Link *
current(FakeAgent *agent)
{
    return agent->links->len > 0 ? agent->links->pdata[agent->links->len - 1] : NULL;
}

static void
send_exit(Link *link, uint32_t channel, int exit_code)
{
    if (channel == 0)
        link->agent->is_running = link->agent->is_paused = false;
    send_json(link, json_pack("{s:s, s:i, s:i, s:i, s:I, s:i}", "type", "exited", "channel", (int)channel,
                              "exit_code", exit_code, "signal", 0, "finished_ns",
                              (json_int_t)sl_clock_now_ns(), "length", 0));
}

static void
say_hello(Link *link)
{
    FakeAgent *agent = link->agent;

    send_json(link, json_pack("{s:s, s:i, s:s, s:b, s:i, s:I, s:i, s:i, s:[]}", "type", "hello", "version",
                              SL_AGENT_VERSION, "state", agent->is_running ? "running" : "idle", "paused",
                              agent->is_paused, "pid", PID, "started_ns", (json_int_t)sl_clock_now_ns(),
                              "length", 0, "stdin_received", 0, "execs"));
}

static void
answer_start(Link *link, json_t *request, const char *type, json_int_t id)
{
    FakeAgent *agent = link->agent;

    if (agent->fail_message) {
        send_json(link, json_pack("{s:s, s:I, s:i, s:s, s:i}", "type", "error", "id", id, "status", 400,
                                  "message", agent->fail_message, "exit_code", agent->fail_code));
        g_clear_pointer(&agent->fail_message, g_free);
        return;
    }
    if (strcmp(type, "start") == 0)
        agent->is_running = true;
    send_json(link, json_pack("{s:s, s:I, s:i, s:I}", "type", "started", "id", id, "pid", PID, "started_ns",
                              (json_int_t)sl_clock_now_ns()));
}

static void
answer(Link *link, json_t *request)
{
    FakeAgent *agent = link->agent;
    const char *type = json_string_value(json_object_get(request, "type"));
    json_int_t id = json_integer_value(json_object_get(request, "id"));
    int signal_number = (int)json_integer_value(json_object_get(request, "signal"));

    if (strcmp(type, "signal") == 0)
        g_ptr_array_add(agent->said, g_strdup_printf("signal %d", signal_number));
    else if (strcmp(type, "exec") == 0)
        g_ptr_array_add(agent->said, g_strdup_printf("exec %d", (int)json_integer_value(
                                                                    json_object_get(request, "channel"))));
    else
        g_ptr_array_add(agent->said, g_strdup(type));
    if (strcmp(type, "start") == 0 || strcmp(type, "exec") == 0) {
        answer_start(link, request, type, id);
        return;
    }
    if (strcmp(type, "shutdown") == 0)
        return;
    if (strcmp(type, "pause") == 0 || strcmp(type, "unpause") == 0)
        agent->is_paused = *type == 'p';
    send_json(link, json_pack("{s:s, s:I}", "type", "ok", "id", id));
    if (signal_number == SIGKILL && agent->is_mortal)
        send_exit(link, 0, 128 + SIGKILL);
}

static void
note_frame(FakeAgent *agent, const uint8_t *data, size_t n)
{
    static const char *const names[] = { "?", "data", "window", "end", "grown", "seen" };
    SlAgentFrame frame;
    GString *text;

    g_assert_true(sl_agent_frame_get(data, n, &frame));
    text = g_string_new(NULL);
    g_string_printf(text, "%s %u %" G_GUINT64_FORMAT, names[frame.type], frame.channel, frame.offset);
    if (n > SL_AGENT_FRAME_HEADER) {
        g_string_append_c(text, ' ');
        g_string_append_len(text, (const char *)data + SL_AGENT_FRAME_HEADER,
                            (gssize)(n - SL_AGENT_FRAME_HEADER));
    }
    g_ptr_array_add(agent->said, g_string_free(text, FALSE));
}

static void
on_message(void *user, bool is_binary, const uint8_t *data, size_t n)
{
    Link *link = user;
    g_autoptr(json_t) request = is_binary ? NULL : json_loadb((const char *)data, n, 0, NULL);

    if (is_binary) {
        note_frame(link->agent, data, n);
    } else {
        g_assert_nonnull(request);
        answer(link, request);
    }
}

static void
on_closed(void *user, unsigned code)
{
}

static const SlWsOps ws_ops = { .message = on_message, .closed = on_closed };

/* Takes what belongs to the handshake; returns how much. */
static size_t
take_head(Link *link, const uint8_t *data, size_t n)
{
    size_t had = link->head->len;
    g_autofree char *accept = NULL;
    g_autofree char *reply = NULL;
    g_autofree char *key = NULL;
    const char *end, *at;

    g_string_append_len(link->head, (const char *)data, (gssize)n);
    end = strstr(link->head->str, "\r\n\r\n");
    if (!end)
        return n;
    at = strstr(link->head->str, "Sec-WebSocket-Key: ") + strlen("Sec-WebSocket-Key: ");
    key = g_strndup(at, strcspn(at, "\r"));
    accept = sl_ws_accept_key(key);
    reply =
        g_strdup_printf("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: %s\r\n\r\n",
                        accept);
    g_assert_cmpint(send(link->fd, reply, strlen(reply), MSG_NOSIGNAL), ==, (int)strlen(reply));
    n = (size_t)(end + 4 - link->head->str) - had;
    g_string_free(g_steal_pointer(&link->head), TRUE);
    say_hello(link);
    return n;
}

static void *
serve_link(void *data)
{
    Link *link = data;
    uint8_t block[4096];
    ssize_t n;

    while ((n = recv(link->fd, block, sizeof block, 0)) > 0) {
        SL_LOCK_GUARD(&link->agent->lock);
        size_t used = link->head ? take_head(link, block, (size_t)n) : 0;

        if ((size_t)n > used && !sl_ws_receive(link->ws, block + used, (size_t)n - used, NULL))
            break;
        flush(link);
    }
    return NULL;
}

static void
link_free(void *data)
{
    Link *link = data;

    shutdown(link->fd, SHUT_RDWR);
    pthread_join(link->thread, NULL);
    close(link->fd);
    sl_ws_free(link->ws);
    if (link->head)
        g_string_free(link->head, TRUE);
    g_free(link);
}

/* ---- the driver ---- */

static void
driver_close(SlDriver *driver)
{
    g_free(driver);
}

static bool
driver_launch(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, char **ret_handle, GError **error)
{
    FakeAgent *agent = ((FakeDriver *)driver)->agent;
    SL_LOCK_GUARD(&agent->lock);

    agent->n_launches++;
    agent->is_dead = agent->is_running = agent->is_paused = false;
    *ret_handle = g_strdup("fake");
    return true;
}

static bool
driver_connect(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, int *ret_fd, GError **error)
{
    FakeAgent *agent = ((FakeDriver *)driver)->agent;
    Link *link;
    int ends[2];
    SL_LOCK_GUARD(&agent->lock);

    if (agent->refuses_next || agent->is_dead || agent->n_launches == 0) {
        agent->refuses_next = false;
        return sl_fail(error, SL_ERROR_UNAVAILABLE, "nobody is there");
    }
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
    link = g_new0(Link, 1);
    link->agent = agent;
    link->fd = ends[1];
    link->ws = sl_ws_new(false, SL_AGENT_MAX_MESSAGE, &ws_ops, link);
    link->head = g_string_new(NULL);
    g_ptr_array_add(agent->links, link);
    g_assert_true(sl_thread_start("fake-agent", serve_link, link, &link->thread, NULL));
    *ret_fd = ends[0];
    return true;
}

static bool
driver_terminate(SlDriver *driver, SlCancel *cancel, const char *handle, const char *reason, GError **error)
{
    return true;
}

static bool
driver_poll(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, const char *handle,
            SlWorkloadStatus *ret_status, GError **error)
{
    FakeAgent *agent = ((FakeDriver *)driver)->agent;
    SL_LOCK_GUARD(&agent->lock);

    *ret_status = (SlWorkloadStatus){ .state = SL_WORKLOAD_GONE,
                                      .has_exit = agent->exit_code >= 0,
                                      .exit_code = MAX(0, agent->exit_code),
                                      .finished_ns = sl_clock_now_ns(),
                                      .log_length = -1 };
    return true;
}

static const SlDriverOps driver_ops = {
    .name = "fake",
    .close = driver_close,
    .launch = driver_launch,
    .agent_connect = driver_connect,
    .terminate = driver_terminate,
    .poll = driver_poll,
};

/* ---- the core ---- */

static void
open_core(FakeCore *fake)
{
    FakeDriver *driver = g_new0(FakeDriver, 1);
    g_autoptr(GError) error = NULL;

    sl_driver_init(&driver->base, &driver_ops);
    driver->agent = fake->agent;
    fake->core = sl_core_open(
        &(SlCoreConfig){ .data = fake->folder, .driver = &driver->base, .builtin_images = "off" }, &error);
    g_assert_no_error(error);
}

FakeCore *
fake_core_new(void)
{
    FakeCore *fake = g_new0(FakeCore, 1);

    fake->folder = g_dir_make_tmp("sockerless-fake.XXXXXX", NULL);
    fake->agent = g_new0(FakeAgent, 1);
    fake->agent->is_mortal = true;
    fake->agent->exit_code = -1;
    pthread_mutex_init(&fake->agent->lock, NULL);
    fake->agent->links = g_ptr_array_new_with_free_func(link_free);
    fake->agent->said = g_ptr_array_new_with_free_func(g_free);
    open_core(fake);
    return fake;
}

void
fake_core_restart(FakeCore *fake)
{
    sl_core_close(fake->core);
    open_core(fake);
}

void
fake_core_free(FakeCore *fake)
{
    FakeAgent *agent = fake->agent;
    sl_autofd int parent = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    sl_core_close(fake->core);
    g_ptr_array_unref(agent->links);
    g_ptr_array_unref(agent->said);
    pthread_mutex_destroy(&agent->lock);
    g_free(agent->fail_message);
    g_free(agent);
    g_assert_true(sl_tree_remove(parent, fake->folder + 1, NULL));
    g_free(fake->folder);
    g_free(fake);
}

SlContainer *
fake_container_new(FakeCore *fake, const char *text)
{
    static const char given[] = "{\"Image\":\"fake\",\"Cmd\":[\"true\"],\"Hostname\":\"fake\","
                                "\"HostConfig\":{\"NetworkMode\":\"default\"}}";
    g_autoptr(json_t) json = json_loads(given, 0, NULL);
    g_autoptr(json_t) more = json_loads(text ? text : "{}", 0, NULL);
    g_auto(DkContainerCreate) config = { 0 };
    g_autofree char *id = sl_id_new();
    g_autoptr(GError) error = NULL;
    SlCore *core = fake->core;
    SlContainer *container;

    g_assert_nonnull(more);
    json_object_update_recursive(json, more);
    sl_json_read(json, dk_container_create_fields, &config, "test", &error);
    g_assert_no_error(error);
    container = sl_container_new(core, id, &config, json_dumps(json, JSON_COMPACT));
    container->name = g_strndup(id, SL_ID_SHORT_CHARS);
    container->image_name = g_strdup("fake");
    container->image_id = g_strdup("sha256:fake");
    container->token = g_strdup("token");
    sl_container_commit(container, false, &error);
    g_assert_no_error(error);

    SL_LOCK_GUARD(&core->lock);
    g_hash_table_insert(core->by_id, container->id, sl_container_ref(container));
    g_hash_table_insert(core->by_name, g_strdup(container->name), container);
    g_ptr_array_add(core->in_order, container);
    return container;
}

bool
fake_container_start(SlContainer *container)
{
    return sl_container_act(container, &(SlEvent){ .kind = SL_EVENT_START }, NULL);
}

/* ---- what the agent does ---- */

void
fake_agent_fail_next(FakeAgent *agent, int exit_code, const char *message)
{
    SL_LOCK_GUARD(&agent->lock);

    agent->fail_code = exit_code;
    agent->fail_message = g_strdup(message);
}

void
fake_agent_refuse_next(FakeAgent *agent)
{
    SL_LOCK_GUARD(&agent->lock);

    agent->refuses_next = true;
}

void
fake_agent_set_mortal(FakeAgent *agent, bool is_mortal)
{
    SL_LOCK_GUARD(&agent->lock);

    agent->is_mortal = is_mortal;
}

void
fake_agent_exit(FakeAgent *agent, uint32_t channel, int exit_code)
{
    SL_LOCK_GUARD(&agent->lock);

    send_exit(current(agent), channel, exit_code);
}

void
fake_agent_frame(FakeAgent *agent, SlAgentFrameType type, uint32_t channel, uint64_t offset, const void *data,
                 size_t n)
{
    uint8_t header[SL_AGENT_FRAME_HEADER];
    SL_LOCK_GUARD(&agent->lock);

    sl_agent_frame_put(&(SlAgentFrame){ .type = type, .channel = channel, .offset = offset }, header);
    sl_ws_send(current(agent)->ws, true, header, sizeof header, data, n);
    flush(current(agent));
}

void
fake_agent_break(FakeAgent *agent, bool is_dead, int exit_code)
{
    SL_LOCK_GUARD(&agent->lock);

    agent->is_dead = is_dead;
    agent->exit_code = exit_code;
    shutdown(current(agent)->fd, SHUT_RDWR);
}

/* How many were said up to it; 0: it was not. Lock held. */
static guint
find_said(const FakeAgent *agent, const char *said)
{
    for (guint i = 0; i < agent->said->len; i++)
        if (strcmp(agent->said->pdata[i], said) == 0)
            return i + 1;
    return 0;
}

bool
fake_agent_heard(FakeAgent *agent, const char *said)
{
    SL_LOCK_GUARD(&agent->lock);

    return find_said(agent, said) > 0;
}

typedef struct Expected {
    FakeAgent *agent;
    const char *said;
} Expected;

static bool
is_said(void *user)
{
    const Expected *expected = user;
    SL_LOCK_GUARD(&expected->agent->lock);
    guint n = find_said(expected->agent, expected->said);

    if (n > 0)
        g_ptr_array_remove_range(expected->agent->said, 0, n);
    return n > 0;
}

void
fake_agent_expect(FakeAgent *agent, const char *said)
{
    fake_until(is_said, &(Expected){ agent, said });
}

unsigned
fake_agent_n_launches(FakeAgent *agent)
{
    SL_LOCK_GUARD(&agent->lock);

    return agent->n_launches;
}

/* ---- waiting ---- */

void
fake_until(bool (*condition)(void *user), void *user)
{
    for (int waited_ms = 0; !condition(user); waited_ms += LOOK_MS) {
        g_assert_cmpint(waited_ms, <, DEADLINE_MS);
        poll(NULL, 0, LOOK_MS);
    }
}

typedef struct Awaited {
    SlContainer *container;
    SlPhase phase;
} Awaited;

static bool
is_in_phase(void *user)
{
    const Awaited *awaited = user;

    return sl_container_get_state(awaited->container, NULL).phase == awaited->phase;
}

void
fake_until_phase(SlContainer *container, SlPhase phase)
{
    fake_until(is_in_phase, &(Awaited){ container, phase });
}
