/* HostConfig.LogConfig: which logs a container keeps, and what `docker logs --details` adds. By Docker's grammar and in its words. Pure. */
#pragma once

#include "api/gen/types.gen.h"
#include "common/error.h"

/* What the daemon was told (--log-driver, --log-opt); NULLs: json-file without options. */
typedef struct SlLogDefaults {
    char *driver;
    json_t *options; /* name → value */
} SlLogDefaults;

/* driver may be NULL, opts are "name=value". Errors: SL_ERROR_INVALID. */
bool sl_log_defaults_make(const char *driver, char *const *opts, SlLogDefaults *ret_defaults, GError **error);
void sl_log_defaults_clear(SlLogDefaults *defaults);
/* The driver of containers that name none. */
const char *sl_log_defaults_driver(const SlLogDefaults *defaults);

/* Completes config with the defaults, and checks it. warnings (may be NULL) gets what has no effect. Errors: SL_ERROR_INVALID. */
bool sl_log_config_complete(DkLogConfig *config, const SlLogDefaults *defaults, json_t *warnings,
                            GError **error);

/* Of a complete config: */
typedef struct SlLogKeeping {
    int64_t max_size;  /* bytes of a segment; 0: without end */
    int64_t max_files; /* ≥ 1 */
    bool is_readable;  /* by `docker logs` */
} SlLogKeeping;
SlLogKeeping sl_log_config_keeping(const DkLogConfig *config);
/* What the log driver was told to add to lines: "k=v,k2=v2", escaped, by key. Caller frees. */
char *sl_log_config_details(const DkContainerCreate *config, const char *id, const char *name,
                            const char *image_id);
