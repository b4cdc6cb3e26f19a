/*
 * How a container process is started in the sandbox, and what supervisor and sandbox share.
 *
 * `sockerless-sandbox` runs one guest process tree member: the agent starts it once for the container's first
 * process and once for every exec; guest forks are forks of it. It needs no privilege. Read by agent/ as
 * well, so nothing here may depend on GLib.
 *
 *     sockerless-sandbox OPTION... -- ARG...
 *
 * ARG...              the guest's argv; ARG[0] is looked up in the guest's PATH unless it holds a slash
 * the environment     is the guest's environment, passed on whole; the sandbox itself reads none of it
 * descriptors 0 1 2   are the guest's; every other inherited one, save those named below, is closed
 *
 *   --root DIR        the container's root folder (default: the current folder, so that a supervisor can
 *                     change into a detached mount and start it there)
 *   --table FD        descriptor of the shared process table below; without it a private one is made
 *   --status FD       a pipe; see "Start" below
 *   --user UID:GID[,GID...]   what getuid() and friends say; as root also what the kernel enforces
 *   --hostname NAME   uname() nodename and /proc/sys/kernel/hostname
 *   --cwd DIR         guest path; must exist (the supervisor makes it when Docker would)
 *   --tty             descriptor 0 is a terminal: become session leader and take it as controlling terminal
 *   --network DIR     the folder of all networks (sandbox/net.h); without it there is not even a loopback
 *   --endpoint NAME   with --network: which endpoint in it is the container's
 *   --no-outside      with --network: no socket of the host's is ever made
 *   --rlimit NAME=SOFT:HARD   nofile, nproc, core, fsize, stack, cpu, data, as; may repeat
 *
 * Start. When the guest program could be loaded, the status pipe is closed without a byte just before its
 * first instruction. When it could not, "EXIT SENTENCE" (126 or 127, a space, a sentence for the user) is
 * written and the sandbox exits with that number. So: end of file = started; bytes = the error of `docker
 * start`. The sentence holds "executable file not found in $PATH" or "no such file or directory" for 127 and
 * "permission denied" for a file without its x bit: clients match on them. 125: an option, the root or the
 * table is wrong, which is the supervisor's fault and not the user's.
 *
 * Exit status: the guest's; a guest killed by a signal dies of that signal; 139 with a line on descriptor 2
 * after a trap in WebAssembly (out-of-bounds access, unreachable).
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum {
    SL_SANDBOX_TABLE_MAGIC = 0x534c5054, /* "SLPT" */
    SL_SANDBOX_TABLE_VERSION = 1,
    SL_SANDBOX_MAX_PROCESSES = 4096,
    SL_SANDBOX_COMMAND_MAX = 256, /* bytes of argv kept for ps and top, NUL between arguments */
};

/* One guest process. host_pid is the key: 0 free, -1 being filled. The rest belongs to that process. */
typedef struct SlSandboxProcess {
    _Atomic int32_t host_pid;
    int32_t pid;     /* guest pid, from 1 */
    int32_t parent;  /* guest pid; 0 when started by the supervisor */
    int32_t group;   /* guest process group */
    int32_t session; /* guest session */
    uint32_t uid, gid;
    int64_t started_ms;         /* CLOCK_REALTIME */
    _Atomic uint32_t memory_kb; /* of its linear memory */
    uint32_t command_len;       /* of command, 0 until the first program is loaded */
    char command[SL_SANDBOX_COMMAND_MAX];
} SlSandboxProcess;

/*
 * The container's process table: a memfd that the supervisor makes, sizes to this struct, fills with magic
 * and version and hands to every sandbox of the container. The only processes a guest can see or signal are
 * here.
 *
 * next_pid is the last guest pid given out. closing: set by the supervisor when the first process has ended;
 * from then on fork fails with EAGAIN, and the supervisor kills what is left. The supervisor, a subreaper,
 * frees the entries of processes that it reaps; a parent that reaps its child frees the child's entry itself.
 */
typedef struct SlSandboxTable {
    uint32_t magic, version;
    _Atomic int32_t next_pid;
    _Atomic int32_t closing;
    SlSandboxProcess process[SL_SANDBOX_MAX_PROCESSES];
} SlSandboxTable;
