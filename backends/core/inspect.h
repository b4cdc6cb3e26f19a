/* What `docker inspect` shows of a container, and pieces of it that the list shows too. */
#pragma once

#include "backends/core/container.h"

/* Bytes that the container wrote to its filesystem, and these with the image's. */
int64_t sl_container_written_bytes(SlContainer *container);
int64_t sl_container_root_bytes(SlContainer *container);
