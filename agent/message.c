#include "agent/message.h"

#include "agent/protocol.h"

#include <signal.h>
#include <string.h>

static const SlJsonField root_fields[] = {
    SL_JSON_FIELD(SlRootSpec, kind, "kind", SL_JSON_STRING, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRootSpec, path, "path", SL_JSON_STRING, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRootSpec, lower, "lower", SL_JSON_STRV, SL_JSON_STRING_OR_LIST),
    SL_JSON_FIELD(SlRootSpec, upper, "upper", SL_JSON_STRING, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRootSpec, work, "work", SL_JSON_STRING, SL_JSON_OPTIONAL),
    { 0 },
};

static const SlJsonField request_fields[] = {
    SL_JSON_FIELD(SlRequest, type_name, "type", SL_JSON_STRING, SL_JSON_REQUIRED),
    SL_JSON_FIELD(SlRequest, id, "id", SL_JSON_INT64, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, channel, "channel", SL_JSON_INT64, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, signal, "signal", SL_JSON_INT, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, rows, "rows", SL_JSON_INT, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, cols, "cols", SL_JSON_INT, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, argv, "argv", SL_JSON_STRV, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, env, "env", SL_JSON_STRV, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, cwd, "cwd", SL_JSON_STRING, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, user, "user", SL_JSON_STRING, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, has_tty, "tty", SL_JSON_BOOL, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, has_stdin, "stdin", SL_JSON_BOOL, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, has_stdin, "open_stdin", SL_JSON_BOOL, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, has_stdout, "stdout", SL_JSON_BOOL, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, has_stderr, "stderr", SL_JSON_BOOL, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, hostname, "hostname", SL_JSON_STRING, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, rlimits, "rlimits", SL_JSON_STRV, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, runtime, "runtime", SL_JSON_STRV, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, log_max_size, "log_max_size", SL_JSON_INT64, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, log_max_files, "log_max_files", SL_JSON_INT64, SL_JSON_OPTIONAL),
    SL_JSON_NESTED(SlRequest, root, "root", root_fields),
    SL_JSON_FIELD(SlRequest, exec_id, "exec_id", SL_JSON_STRING, SL_JSON_OPTIONAL),
    SL_JSON_FIELD(SlRequest, config, "config", SL_JSON_ANY, SL_JSON_OPTIONAL),
    { 0 },
};

static const struct {
    const char *name;
    SlRequestType type;
} type_names[] = {
    { "start", SL_REQUEST_START },   { "exec", SL_REQUEST_EXEC },       { "signal", SL_REQUEST_SIGNAL },
    { "resize", SL_REQUEST_RESIZE }, { "top", SL_REQUEST_TOP },         { "shutdown", SL_REQUEST_SHUTDOWN },
    { "pause", SL_REQUEST_PAUSE },   { "unpause", SL_REQUEST_UNPAUSE },
};

static SlRequestType
type_by_name(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(type_names); i++)
        if (strcmp(name, type_names[i].name) == 0)
            return type_names[i].type;
    return 0;
}

static bool
rlimit_is_valid(const char *text)
{
    const char *equals = strchr(text, '=');

    return equals && equals > text && strspn(text, "abcdefghijklmnopqrstuvwxyz") == (size_t)(equals - text) &&
           equals[1] && strspn(equals + 1, "0123456789:-") == strlen(equals + 1);
}

static bool
check_command(const SlRequest *request, GError **error)
{
    if (!request->argv || !request->argv[0])
        return sl_fail(error, SL_ERROR_INVALID, "no command specified");
    for (char **variable = request->env; variable && *variable; variable++)
        if ((*variable)[0] == '=' || !strchr(*variable, '='))
            return sl_fail(error, SL_ERROR_INVALID, "invalid environment variable: %s", *variable);
    if (request->cwd && request->cwd[0] && request->cwd[0] != '/')
        return sl_fail(error, SL_ERROR_INVALID,
                       "the working directory '%s' is invalid, it needs to be an absolute path",
                       request->cwd);
    return true;
}

static bool
check_start(const SlRequest *request, GError **error)
{
    if (request->channel != 0)
        return sl_fail(error, SL_ERROR_INVALID, "start has channel 0");
    /* A relative path would be looked up in the container's root, where the runtime begins its life. */
    if (!request->runtime || !request->runtime[0] || request->runtime[0][0] != '/')
        return sl_fail(error, SL_ERROR_INVALID, "the runtime's path must be absolute");
    for (char **limit = request->rlimits; limit && *limit; limit++)
        if (!rlimit_is_valid(*limit))
            return sl_fail(error, SL_ERROR_INVALID, "invalid rlimit: %s", *limit);
    if (request->log_max_size < 0 || request->log_max_files < 0 || request->log_max_files > INT32_MAX)
        return sl_fail(error, SL_ERROR_INVALID, "invalid limits of the log");
    if (!request->root.kind)
        return sl_fail(error, SL_ERROR_INVALID, "start has no root");
    return check_command(request, error);
}

static bool
check_request(const SlRequest *request, SlRequestType type, GError **error)
{
    if (type != SL_REQUEST_SHUTDOWN && (request->id < 1 || request->id > INT64_C(1) << 53))
        return sl_fail(error, SL_ERROR_INVALID, "%s needs an id", request->type_name);
    if (request->channel < 0 || request->channel > UINT32_MAX)
        return sl_fail(error, SL_ERROR_INVALID, "invalid channel");
    if (request->rows < 0 || request->rows > UINT16_MAX || request->cols < 0 || request->cols > UINT16_MAX)
        return sl_fail(error, SL_ERROR_INVALID, "invalid terminal size");

    switch (type) {
    case SL_REQUEST_START:
        return check_start(request, error);
    case SL_REQUEST_EXEC:
        if (request->channel == 0 || !request->exec_id)
            return sl_fail(error, SL_ERROR_INVALID, "exec needs a channel and an exec_id");
        return check_command(request, error);
    case SL_REQUEST_SIGNAL:
        if (request->signal < 1 || request->signal > SIGRTMAX)
            return sl_fail(error, SL_ERROR_INVALID, "invalid signal: %d", request->signal);
        return true;
    case SL_REQUEST_RESIZE:
    case SL_REQUEST_TOP:
    case SL_REQUEST_PAUSE:
    case SL_REQUEST_UNPAUSE:
    case SL_REQUEST_SHUTDOWN:
        return true;
    }
    return sl_fail(error, SL_ERROR_UNSUPPORTED, "unknown message type %s", request->type_name);
}

bool
sl_request_parse(const uint8_t *text, size_t n, SlRequest *request, GError **error)
{
    g_autoptr(json_t) json = sl_json_parse((const char *)text, n, "invalid message", error);
    int64_t id = json ? json_integer_value(json_object_get(json, "id")) : 0;
    SlRequestType type;

    if (!json)
        return false;
    if (!sl_json_read(json, request_fields, request, "invalid message", error)) {
        request->id = id;
        return false;
    }
    type = type_by_name(request->type_name);
    if (!check_request(request, type, error))
        return false;

    request->type = type;
    return true;
}

void
sl_request_clear(SlRequest *request)
{
    sl_json_clear(request_fields, request);
    request->type = 0;
}
