/* Control messages of the daemon (protocol.h) as a struct. Pure. */
#pragma once

#include "common/json_fields.h"

#include <stdint.h>

typedef enum SlRequestType {
    SL_REQUEST_START = 1,
    SL_REQUEST_EXEC,
    SL_REQUEST_SIGNAL,
    SL_REQUEST_RESIZE,
    SL_REQUEST_TOP,
    SL_REQUEST_PAUSE,
    SL_REQUEST_UNPAUSE,
    SL_REQUEST_SHUTDOWN,
} SlRequestType;

typedef struct SlRootSpec {
    char *kind;  /* "overlay", "overlay-userns", "folder" */
    char *path;  /* of a folder */
    GStrv lower; /* topmost first */
    char *upper, *work;
} SlRootSpec;

/* Every member any message has; which ones are set depends on type. */
typedef struct SlRequest {
    SlRequestType type;
    char *type_name;
    int64_t id;
    int64_t channel;
    int signal;
    int rows, cols;
    GStrv argv, env;
    char *cwd, *user;
    bool has_tty;
    bool has_stdin, has_stdout, has_stderr; /* start: open_stdin; both outputs always */
    char *hostname;
    GStrv rlimits, runtime;
    int64_t log_max_size, log_max_files; /* 0, 1: one segment */
    SlRootSpec root;
    char *exec_id;
    json_t *config;
} SlRequest;

/* request must be zeroed. On failure type is 0 and id is kept when there was one, so that it can be answered;
 * clear it either way. Errors: SL_ERROR_INVALID, SL_ERROR_UNSUPPORTED for an unknown type. */
bool sl_request_parse(const uint8_t *text, size_t n, SlRequest *request, GError **error);
void sl_request_clear(SlRequest *request);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SlRequest, sl_request_clear)
