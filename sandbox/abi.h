/*
 * The guest's memory and the layouts of what it passes: 32-bit little-endian Linux with 64-bit times and
 * offsets.
 *
 * Everything the guest passes is a number; an address is good only after sl_guest_pointer() said so. Calls
 * answer as system calls do, 0 or more for success and -errno for failure: the sandbox has no other error
 * object.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SL_GUEST_FDS = 256,   /* the guest's descriptors are 0…255, the host's own lie above */
    SL_GUEST_IOVECS = 64, /* in one call */
};

/* Set by the engine before each call: the linear memory may have grown. */
typedef struct SlGuestMemory {
    uint8_t *data;
    uint64_t size;
} SlGuestMemory;

extern SlGuestMemory sl_guest_memory;

/* The guest's bytes [at, at + size), or NULL when they do not lie in its memory. Address 0 is NULL. */
static inline void *
sl_guest_pointer(uint32_t at, uint64_t size)
{
    return at && at + size <= sl_guest_memory.size ? sl_guest_memory.data + at : NULL;
}

/* A string that ends within the guest's memory, or NULL. */
const char *sl_guest_string(uint32_t at);

/* For an argument that may be a null pointer: false only for one that is not and lies outside. */
static inline bool
sl_guest_optional(uint32_t at, uint64_t size, void **ret_pointer)
{
    *ret_pointer = at ? sl_guest_pointer(at, size) : NULL;
    return !at || *ret_pointer;
}

static inline int64_t
sl_guest_offset(uint32_t low, uint32_t high)
{
    return (int64_t)((uint64_t)high << 32 | low);
}

static inline bool
sl_fd_is_guests(uint32_t fd)
{
    return fd < SL_GUEST_FDS;
}

/* A new descriptor for the guest, or -errno as it came; -EMFILE, and closed, beyond the guest's range. */
int32_t sl_fd_give(int fd);

/* What a C library call returned, as the guest wants it. */
static inline int32_t
sl_result(long result)
{
    return result < 0 ? -errno : (int32_t)result;
}

/* The guest's array of (address, length), checked; 0 or -errno. */
struct iovec;
int32_t sl_guest_iovecs(uint32_t at, uint32_t n, struct iovec *to); /* to: SL_GUEST_IOVECS of them */

typedef struct GuestTime {
    int64_t seconds;
    int32_t nanoseconds, pad;
} GuestTime;

typedef struct GuestStat {
    uint64_t device, inode;
    uint32_t mode, links, uid, gid;
    uint64_t special;
    int64_t size;
    int32_t block_size, pad;
    int64_t blocks;
    GuestTime accessed, modified, changed;
} GuestStat;

typedef struct GuestStatfs {
    uint32_t type, block_size;
    uint64_t blocks, blocks_free, blocks_available, files, files_free;
    int32_t id[2];
    uint32_t name_length, fragment_size, flags, spare[4];
} GuestStatfs;

typedef struct GuestUsage {
    int32_t user_s, user_us, system_s, system_us;
    int32_t other[14];
} GuestUsage;
