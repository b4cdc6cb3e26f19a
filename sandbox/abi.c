#include "sandbox/abi.h"

#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sandbox/limits.h"

SlGuestMemory sl_guest_memory;

const char *
sl_guest_string(uint32_t at)
{
    if (!at || at >= sl_guest_memory.size)
        return NULL;
    return memchr(sl_guest_memory.data + at, 0, sl_guest_memory.size - at) ? (char *)sl_guest_memory.data + at
                                                                           : NULL;
}

int32_t
sl_fd_give(int fd)
{
    if (fd >= SL_GUEST_FDS || fd >= sl_limit_files()) {
        close(fd);
        return -EMFILE;
    }
    return fd;
}

int32_t
sl_guest_iovecs(uint32_t at, uint32_t n, struct iovec *to)
{
    const uint32_t *from = sl_guest_pointer(at, 8 * (uint64_t)n);

    if (n > SL_GUEST_IOVECS)
        return -EINVAL;
    if (!from && n)
        return -EFAULT;
    for (uint32_t i = 0; i < n; i++) {
        to[i].iov_len = from[2 * i + 1];
        to[i].iov_base = sl_guest_pointer(from[2 * i], to[i].iov_len);
        if (!to[i].iov_base && to[i].iov_len)
            return -EFAULT;
    }
    return 0;
}
