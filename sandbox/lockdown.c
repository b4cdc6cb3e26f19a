#include "sandbox/lockdown.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/net.h"
#include "sandbox/paths.h"

/* Rights of later kernels than the headers this builds with. */
#define ACCESS_REFER    (UINT64_C(1) << 13)
#define ACCESS_TRUNCATE (UINT64_C(1) << 14)

static const uint64_t file_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;

static void
allow(int ruleset, int fd, uint64_t access)
{
    struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = fd };

    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

static void
allow_device(int ruleset, int dev_fd, const char *name, uint64_t access)
{
    int fd = (int)syscall(SYS_openat, dev_fd, name, O_PATH | O_CLOEXEC);

    if (fd >= 0) {
        allow(ruleset, fd, access);
        close(fd);
    }
}

static uint64_t
handled_access(long version)
{
    uint64_t access =
        LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1; /* the first version's: all up to the last of them */

    if (version >= 2)
        access |= ACCESS_REFER; /* without it rename and link between folders fail */
    if (version >= 3)
        access |= ACCESS_TRUNCATE;
    return access;
}

static void
restrict_files(void)
{
    static const char *const devices[] = {
        "null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts"
    };
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct landlock_ruleset_attr attributes = { .handled_access_fs = handled_access(version) };
    uint64_t never =
        LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;
    uint64_t truncate = attributes.handled_access_fs & ACCESS_TRUNCATE;
    int ruleset, dev_fd;

    if (version < 1)
        return; /* an older kernel, or switched off */
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (ruleset < 0)
        return;
    allow(ruleset, sl_paths_root_fd(), attributes.handled_access_fs & ~never);
    dev_fd = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; dev_fd >= 0 && i < sizeof devices / sizeof *devices; i++)
        allow_device(ruleset, dev_fd, devices[i], file_access | truncate);
    close(dev_fd);
    if (sl_net_is_there()) {
        allow(ruleset, sl_net_folder_fd(), LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR);
        allow(ruleset, sl_net_endpoint_fd(), LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE);
    }
    syscall(SYS_landlock_restrict_self, ruleset, 0);
    close(ruleset);
}

void
sl_lockdown_files(void)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    restrict_files();
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

bool
sl_lockdown_capabilities(void)
{
    static const int kept[] = { CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID,
                                CAP_SETUID, CAP_SETGID,       CAP_KILL };
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];
    uint32_t keep = 0;

    if (geteuid() == 0) {
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
            keep |= UINT32_C(1) << kept[i];
    }
    /* no more than we have: root in a container of somebody else's has fewer */
    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    for (int i = 0; i < 2; i++) {
        data[i].permitted &= i == 0 ? keep : 0;
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    return syscall(SYS_capset, &header, data) == 0;
}
