/* Layers, one by one, within a budget that they share. Inside oci/. */
#pragma once

#include "oci/unpack.h"
#include "oci/unpack_target.h"

void sl_unpack_budget_init(SlUnpackBudget *budget, const SlUnpackLimits *limits);
/* Reads all layers of image and checks their diff_ids; folder_fd: where to unpack to, -1: nowhere. Sets the sizes. */
bool sl_layers_unpack(SlContent *content, SlImage *image, int folder_fd, const SlUnpackLimits *limits,
                      const SlUnpackWatch *watch, SlCancel *cancel, GError **error);
