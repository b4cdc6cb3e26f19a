/* What of a create this backend does not honour. */
#pragma once

#include "backends/core/driver.h"

extern const SlOption memory_options[];
