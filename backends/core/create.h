/* Making containers. */
#pragma once

#include "backends/core/container.h"

/*
 * body: a ContainerCreate in the internal API's form. name NULL or "": one is made up. ret_warnings: a list of sentences, new. Nothing is started; nothing costs. Errors: SL_ERROR_INVALID naming the field, SL_ERROR_NOT_FOUND "No such image: x", SL_ERROR_CONFLICT for the name,
 * SL_ERROR_UNSUPPORTED for an option. A reference.
 */
SlContainer *sl_container_create(SlCore *core, SlCancel *cancel, const char *name, const json_t *body,
                                 json_t **ret_warnings, GError **error);
/* Gives it another name. Errors: SL_ERROR_CONFLICT, SL_ERROR_INVALID. */
bool sl_container_rename(SlContainer *container, const char *name, GError **error);
