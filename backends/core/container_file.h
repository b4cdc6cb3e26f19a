/*
 * container.json in the container's folder: its document beside the store's, by which it is found again when the state file is lost. Written at create and when what
 * no agent knows changes (name, restart policy); state is the agent's and its exit.json's to tell.
 */
#pragma once

#include "backends/core/container.h"

/* Makes the folder and the file, before the container is stored. On failure nothing stays. */
bool sl_container_file_create(SlContainer *container, GError **error);
/* Writes it anew; a failure is said in the log: the store has what counts. */
void sl_container_file_update(SlContainer *container);
/* Before the removal is stored, so that a container which is gone is never taken for one that was lost. */
void sl_container_file_remove(SlContainer *container);
/* The folder too: a create that came to nothing. */
void sl_container_file_undo(SlContainer *container);
/* The document in the folder of that name; NULL without one. Caller frees. */
char *sl_container_file_read(SlCore *core, const char *id);
