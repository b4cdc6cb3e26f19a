/* The text of /proc's files, each in the layout of proc(5). */
#pragma once

#include <stddef.h>

#include "sandbox/sandbox.h"

enum { SL_TEXT_MAX = 16384 };

typedef struct SlText {
    char bytes[SL_TEXT_MAX];
    size_t length;
} SlText;

void sl_proc_cpuinfo(SlText *to, const SlSandboxProcess *process);
void sl_proc_filesystems(SlText *to, const SlSandboxProcess *process);
void sl_proc_loadavg(SlText *to, const SlSandboxProcess *process);
void sl_proc_meminfo(SlText *to, const SlSandboxProcess *process);
void sl_proc_stat(SlText *to, const SlSandboxProcess *process);
void sl_proc_uptime(SlText *to, const SlSandboxProcess *process);
void sl_proc_version(SlText *to, const SlSandboxProcess *process);

void sl_proc_hostname(SlText *to, const SlSandboxProcess *process);
void sl_proc_osrelease(SlText *to, const SlSandboxProcess *process);
void sl_proc_ostype(SlText *to, const SlSandboxProcess *process);
void sl_proc_pid_max(SlText *to, const SlSandboxProcess *process);

void sl_proc_pid_cmdline(SlText *to, const SlSandboxProcess *process);
void sl_proc_pid_comm(SlText *to, const SlSandboxProcess *process);
void sl_proc_pid_mountinfo(SlText *to, const SlSandboxProcess *process);
void sl_proc_pid_mounts(SlText *to, const SlSandboxProcess *process);
void sl_proc_pid_stat(SlText *to, const SlSandboxProcess *process);
void sl_proc_pid_statm(SlText *to, const SlSandboxProcess *process);
void sl_proc_pid_status(SlText *to, const SlSandboxProcess *process);
