/* ioctl: terminals, and the little that pipes and files have. Anything else is refused. */
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/process.h"
#include "sandbox/trees.h"

/* How many bytes the request's argument has; 0: it is a number; -1: not for guests. */
static int
argument_size(uint32_t request)
{
    switch (request) {
    case TCGETS:
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
        return 36; /* the kernel's struct termios; the C library's is longer */
    case TIOCGWINSZ:
    case TIOCSWINSZ:
        return 8;
    case TIOCGPGRP:
    case TIOCSPGRP:
    case TIOCGSID:
    case FIONREAD:
    case TIOCOUTQ:
    case FIONBIO:
    case TIOCGPTN:
    case TIOCSPTLCK:
    case TIOCGETD:
        return 4;
    case TIOCSCTTY:
    case TIOCNOTTY:
    case TIOCEXCL:
    case TIOCNXCL:
    case TCFLSH:
    case TCSBRK:
    case TCSBRKP:
    case TCXONC:
    case FIOCLEX:
    case FIONCLEX:
        return 0;
    default:
        return -1;
    }
}

static int32_t
group_to_guest(int fd, unsigned long request, int32_t *to)
{
    pid_t host;

    if (ioctl(fd, request, &host) < 0)
        return -errno;
    if (request == TIOCGSID) {
        const SlSandboxProcess *leader = sl_table_find_host(host);

        *to = leader ? leader->pid : 0;
    } else {
        *to = sl_group_from_host(host);
    }
    return 0;
}

static int32_t
set_foreground(int fd, int32_t group)
{
    pid_t host = sl_group_to_host(group);

    if (host == 0)
        return -EPERM;
    return sl_result(ioctl(fd, TIOCSPGRP, &host));
}

int32_t
sl_call_ioctl(const uint32_t *arg)
{
    int fd = (int)arg[0];
    unsigned long request = arg[1];
    int size = argument_size(arg[1]);
    void *argument;

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    if (size < 0)
        return isatty(fd) ? -EINVAL : -ENOTTY;
    if (size == 0)
        return sl_result(ioctl(fd, request, (unsigned long)arg[2]));
    argument = sl_guest_pointer(arg[2], (uint64_t)size);
    if (!argument)
        return -EFAULT;
    switch (request) {
    case TIOCGPGRP:
    case TIOCGSID:
        return group_to_guest(fd, request, argument);
    case TIOCSPGRP:
        return set_foreground(fd, *(int32_t *)argument);
    case TIOCGPTN: {
        int number = sl_dev_pts_number(fd);

        if (number >= 0)
            memcpy(argument, &number, sizeof number);
        return number < 0 ? number : 0;
    }
    default:
        return sl_result(ioctl(fd, request, argument));
    }
}
