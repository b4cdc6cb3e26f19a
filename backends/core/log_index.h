/* Reads a segment's index (agent/protocol.h). What is in it is not trusted: wrong marks give wrong times, nothing worse. One thread at a time. */
#pragma once

#include "agent/protocol.h"

#include <glib.h>

enum { SL_LOG_INDEX_BUFFER = 256 };

typedef struct SlLogIndex {
    int fd;         /* borrowed; -1: as if it were empty */
    uint64_t first; /* number of marks[0] */
    uint64_t at;    /* the mark that sl_log_index_time_at found last */
    unsigned n;
    SlLogMark *marks; /* owned; NULL while nothing is being read */
} SlLogIndex;

void sl_log_index_init(SlLogIndex *index, int fd);
/* Frees the buffer: nothing may come for long. It can still be used. */
void sl_log_index_rest(SlLogIndex *index);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SlLogIndex, sl_log_index_rest)
uint64_t sl_log_index_count(const SlLogIndex *index);
bool sl_log_index_get(SlLogIndex *index, uint64_t number, SlLogMark *ret_mark);
/* Offset of the last mark that is not behind offset; 0 without one. */
uint64_t sl_log_index_floor(SlLogIndex *index, uint64_t offset);
/* Offset of the first mark that is not before time_ns; UINT64_MAX without one. */
uint64_t sl_log_index_find_time(SlLogIndex *index, int64_t time_ns);
/* When the byte at offset was read; 0 when nobody knows. ret_next: offset of the next chunk, UINT64_MAX when none is known. For growing offsets. */
int64_t sl_log_index_time_at(SlLogIndex *index, uint64_t offset, uint64_t *ret_next);
