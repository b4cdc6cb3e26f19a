#include "sandbox/users.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/process.h"

typedef struct Ids {
    uint32_t real, effective, saved;
} Ids;

/* Both are used only where the kernel cannot enforce them. */
static bool is_enforced;
static Ids user_ids, group_ids;
static SlUser started_as;
static uid_t host_uid;
static gid_t host_gid;

static bool
parse_number(const char **at, uint32_t *ret)
{
    char *end;
    unsigned long long value;

    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    value = strtoull(*at, &end, 10);
    if (errno || value >= UINT32_MAX)
        return false;
    *ret = (uint32_t)value;
    *at = end;
    return true;
}

bool
sl_user_parse(const char *text, SlUser *ret_user)
{
    SlUser user = { .n_groups = 0 };

    if (!parse_number(&text, &user.uid) || *text++ != ':' || !parse_number(&text, &user.gid))
        return false;
    while (*text == ',' && user.n_groups < SL_MAX_GROUPS) {
        text++;
        if (!parse_number(&text, &user.groups[user.n_groups++]))
            return false;
    }
    if (*text)
        return false;
    *ret_user = user;
    return true;
}

bool
sl_users_start(const SlUser *user)
{
    gid_t groups[SL_MAX_GROUPS];

    started_as = *user;
    host_uid = geteuid();
    host_gid = getegid();
    user_ids = (Ids){ user->uid, user->uid, user->uid };
    group_ids = (Ids){ user->gid, user->gid, user->gid };
    for (int i = 0; i < user->n_groups; i++)
        groups[i] = user->groups[i];
    /* Root of a user namespace that an ordinary user made may set no groups: it is as ordinary as that user. */
    is_enforced = host_uid == 0 && (setgroups((size_t)user->n_groups, groups) == 0 || errno != EPERM);
    return !is_enforced || (setresgid(user->gid, user->gid, user->gid) == 0 &&
                            setresuid(user->uid, user->uid, user->uid) == 0);
}

bool
sl_users_are_enforced(void)
{
    return is_enforced;
}

uint32_t
sl_users_shown_uid(uid_t uid)
{
    return !is_enforced && uid == host_uid ? started_as.uid : uid;
}

uint32_t
sl_users_shown_gid(gid_t gid)
{
    return !is_enforced && gid == host_gid ? started_as.gid : gid;
}

static Ids
user_now(void)
{
    uid_t real, effective, saved;

    if (!is_enforced || getresuid(&real, &effective, &saved) < 0)
        return user_ids;
    return (Ids){ real, effective, saved };
}

static Ids
group_now(void)
{
    gid_t real, effective, saved;

    if (!is_enforced || getresgid(&real, &effective, &saved) < 0)
        return group_ids;
    return (Ids){ real, effective, saved };
}

void
sl_users_publish(SlSandboxProcess *process)
{
    process->uid = user_now().effective;
    process->gid = group_now().effective;
}

/* ---- calls ---- */

static const uint32_t unchanged = UINT32_MAX;

static bool
may_become(uint32_t id, const Ids *from)
{
    return user_ids.effective == 0 || id == unchanged || id == from->real || id == from->effective ||
           id == from->saved;
}

static int32_t
set_ids(bool of_user, uint32_t real, uint32_t effective, uint32_t saved)
{
    Ids *ids = of_user ? &user_ids : &group_ids;
    int32_t result = 0;

    if (is_enforced) {
        result = sl_result(of_user ? setresuid(real, effective, saved) : setresgid(real, effective, saved));
    } else {
        if (!may_become(real, ids) || !may_become(effective, ids) || !may_become(saved, ids))
            return -EPERM;
        ids->real = real == unchanged ? ids->real : real;
        ids->effective = effective == unchanged ? ids->effective : effective;
        ids->saved = saved == unchanged ? ids->saved : saved;
    }
    sl_users_publish(sl_process_self());
    return result;
}

/* setuid(): all three for root, the effective one for others. */
static int32_t
set_id(bool of_user, uint32_t id)
{
    bool is_root = user_now().effective == 0;

    if (id == unchanged)
        return -EINVAL;
    return set_ids(of_user, is_root ? id : unchanged, id, is_root ? id : unchanged);
}

/* setreuid(): the saved one follows the effective one when the real one is set or the effective one leaves
 * it. */
static int32_t
set_real_effective(bool of_user, uint32_t real, uint32_t effective)
{
    Ids now = of_user ? user_now() : group_now();
    uint32_t saved = unchanged;

    if (real != unchanged || (effective != unchanged && effective != now.real))
        saved = effective == unchanged ? now.effective : effective;
    return set_ids(of_user, real, effective, saved);
}

int32_t
sl_call_getuid(const uint32_t *arg)
{
    return (int32_t)user_now().real;
}
int32_t
sl_call_geteuid(const uint32_t *arg)
{
    return (int32_t)user_now().effective;
}
int32_t
sl_call_getgid(const uint32_t *arg)
{
    return (int32_t)group_now().real;
}
int32_t
sl_call_getegid(const uint32_t *arg)
{
    return (int32_t)group_now().effective;
}
int32_t
sl_call_setuid(const uint32_t *arg)
{
    return set_id(true, arg[0]);
}
int32_t
sl_call_setgid(const uint32_t *arg)
{
    return set_id(false, arg[0]);
}
int32_t
sl_call_setreuid(const uint32_t *arg)
{
    return set_real_effective(true, arg[0], arg[1]);
}
int32_t
sl_call_setregid(const uint32_t *arg)
{
    return set_real_effective(false, arg[0], arg[1]);
}
int32_t
sl_call_setresuid(const uint32_t *arg)
{
    return set_ids(true, arg[0], arg[1], arg[2]);
}
int32_t
sl_call_setresgid(const uint32_t *arg)
{
    return set_ids(false, arg[0], arg[1], arg[2]);
}

/* Who asks for these learns the present value; file access follows the effective user, which is enough. */
int32_t
sl_call_setfsuid(const uint32_t *arg)
{
    return (int32_t)user_now().effective;
}
int32_t
sl_call_setfsgid(const uint32_t *arg)
{
    return (int32_t)group_now().effective;
}

static int32_t
ids_to_guest(const uint32_t *arg, const Ids *ids)
{
    const uint32_t value[3] = { ids->real, ids->effective, ids->saved };

    for (int i = 0; i < 3; i++) {
        void *to = sl_guest_pointer(arg[i], 4);

        if (!to)
            return -EFAULT;
        memcpy(to, &value[i], 4);
    }
    return 0;
}

int32_t
sl_call_getresuid(const uint32_t *arg)
{
    Ids ids = user_now();

    return ids_to_guest(arg, &ids);
}

int32_t
sl_call_getresgid(const uint32_t *arg)
{
    Ids ids = group_now();

    return ids_to_guest(arg, &ids);
}

int32_t
sl_call_getgroups(const uint32_t *arg)
{
    gid_t groups[SL_MAX_GROUPS];
    int n = started_as.n_groups;
    uint32_t *to;

    if (is_enforced)
        n = getgroups(SL_MAX_GROUPS, groups);
    else
        memcpy(groups, started_as.groups, sizeof groups);
    if (n < 0)
        return -errno;
    if (arg[0] == 0)
        return n;
    if (arg[0] < (uint32_t)n)
        return -EINVAL;
    to = sl_guest_pointer(arg[1], 4 * (uint64_t)n);
    if (!to && n)
        return -EFAULT;
    for (int i = 0; i < n; i++)
        to[i] = groups[i];
    return n;
}

int32_t
sl_call_setgroups(const uint32_t *arg)
{
    const uint32_t *from = sl_guest_pointer(arg[1], 4 * (uint64_t)arg[0]);
    gid_t groups[SL_MAX_GROUPS];

    if (arg[0] > SL_MAX_GROUPS)
        return -EINVAL;
    if (!from && arg[0])
        return -EFAULT;
    if (user_now().effective != 0)
        return -EPERM;
    for (uint32_t i = 0; i < arg[0]; i++)
        groups[i] = started_as.groups[i] = from[i];
    started_as.n_groups = (int)arg[0];
    return is_enforced ? sl_result(setgroups(arg[0], groups)) : 0;
}
