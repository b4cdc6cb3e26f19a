/* A guest that tries to get out: each line says what was tried and what came of it. Checked by
 * sandbox_test.py. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void
report(const char *what, long result)
{
    printf("%s: %ld %s\n", what, result, result < 0 ? strerror(errno) : "");
}

int
main(int argc, char **argv)
{
    char *buffer = malloc(16);
    int folder = open("/tmp", O_DIRECTORY);

    if (argc > 1 && strcmp(argv[1], "trap") == 0) {
        *(volatile int *)0xfffffff0u = 1;
        puts("not reached");
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "grow") == 0) {
        unsigned long mb = 0;

        for (char *volatile block; mb < 4096 && (block = malloc(1 << 20)); mb++)
            *block = 1;
        printf("%lu\n", mb);
        return 0;
    }
    report("write from outside memory", write(1, (void *)0xffffff00u, 4096));
    report("open a path outside memory", open((char *)0xfffffff0u, 0));
    for (int fd = 256; fd < 260; fd++) {
        report("read a descriptor of the host", syscall(SYS_read, fd, buffer, 10));
        report("open beside a descriptor of the host", openat(fd, "..", O_DIRECTORY));
        report("copy a descriptor of the host", dup2(fd, 9));
    }
    report("copy over a descriptor of the host", dup2(1, 256));
    report("climb out of a folder", openat(folder, "../../../../etc/shadow", 0));
    report("chroot", syscall(SYS_chroot, "/"));
    report("landlock", syscall(444, 0, 0, 1));
    report("mount", syscall(SYS_mount, "a", "/tmp", "tmpfs", 0, 0));
    report("unshare", syscall(SYS_unshare, 0x10000000));
    report("ptrace", syscall(SYS_ptrace, 16, 1, 0, 0));
    report("bpf", syscall(SYS_bpf, 0, 0, 0));
    report("kernel's own clock of process 1", syscall(SYS_clock_gettime64, ~1u << 3 | 2, buffer));
    report("device node", mknod("/tmp/device", S_IFBLK | 0600, 0x800));
    report("internet socket", socket(AF_INET, SOCK_STREAM, 0));
    report("internet socket 6", socket(AF_INET6, SOCK_STREAM, 0));
    report("netlink socket", socket(AF_NETLINK, SOCK_RAW, 0));
    report("unix socket", socket(AF_UNIX, SOCK_STREAM, 0));
    report("packet socket", socket(AF_PACKET, SOCK_RAW, 0));
    report("signal beyond the table", kill(4194303, 0));
    report("signal the smallest number", kill(-2147483647 - 1, 9));
    fflush(stdout);
    return 0;
}
