/* The folders of containers, held against what the store knows, when a daemon starts. */
#pragma once

#include "backends/core/core.h"

/*
 * After the stored containers were loaded: a folder that the store does not know is removed, as its removal was stored and not finished, or its creation never
 * stored. But when the state file is new, has a damaged document of it, or somebody runs in it, the container is taken back from its container.json. A
 * folder with a document that cannot be read and no such file stays, and is said.
 */
bool sl_core_recover_folders(SlCore *core, GError **error);

/* A sentence for `docker info` on each damaged state file that was put aside, as long as it lies there. */
void sl_core_add_damage_warnings(SlCore *core, json_t *warnings);
