/* A compressed tar stream into a folder, within a budget that several layers share. Inside oci/. */
#pragma once

#include "oci/unpack.h"
#include "oci/unpack_target.h"

typedef enum SlUnpackFilters {
    SL_UNPACK_LAYER,   /* gzip and zstd: what layer media types know */
    SL_UNPACK_ARCHIVE, /* xz and bzip2 too: what users upload */
} SlUnpackFilters;

void sl_unpack_budget_init(SlUnpackBudget *budget, const SlUnpackLimits *limits);
/* As sl_unpack_layer; what was used is taken off budget. */
bool sl_unpack_stream(int tar_fd, int folder_fd, SlUnpackFilters filters, SlUnpackBudget *budget,
                      SlCancel *cancel, char **ret_diff_id, int64_t *ret_bytes, GError **error);
