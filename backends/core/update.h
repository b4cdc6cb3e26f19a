/* Restart policies as clients write them, and the update of a container. */
#pragma once

#include "backends/core/container.h"

/* Errors: SL_ERROR_INVALID in Docker's words. "" and absent are "no". error may be NULL: then what is not valid is "no". */
bool sl_restart_policy_read(const DkRestartPolicy *policy, SlRestartPolicy *ret_policy, GError **error);
/* {"Name", "MaximumRetryCount"} as inspect shows it. */
json_t *sl_restart_policy_write(const SlRestartPolicy *policy);

/* POST /containers/{id}/update's body. What a running container cannot be given is refused before anything changes; warnings of what has no effect
 * on this backend are appended to warnings. Errors: SL_ERROR_INVALID, SL_ERROR_CONFLICT, SL_ERROR_UNSUPPORTED. */
bool sl_container_update(SlContainer *container, const json_t *body, json_t *warnings, GError **error);
