#include "backends/memory/memory_options.h"

#define REFUSED(name_, advice_)                                                                              \
    {                                                                                                        \
        .name = name_, .verdict = SL_OPTION_REFUSED, .advice = advice_                                       \
    }
#define NO_EFFECT(name_, advice_)                                                                            \
    {                                                                                                        \
        .name = name_, .verdict = SL_OPTION_NO_EFFECT, .advice = advice_                                     \
    }

static const char later_volumes[] =
    "volumes and bind mounts come with a later release; copy the files into an image instead";
static const char later_ports[] =
    "published ports come with a later release; connect from a container on the same network";
static const char no_kernel[] = "the sandbox has no kernel of its own to set it in; leave the option out";
static const char no_limit[] =
    "the sandbox does not limit this resource in this release. Limitation discarded.";
static const char no_privilege[] =
    "programs in the sandbox have no privileges of the kernel's; it changes nothing";

const SlOption memory_options[] = {
    REFUSED("Healthcheck.Test", "health checks come with a later release; leave the option out"),
    NO_EFFECT("Volumes", "kept in the container's own filesystem; volumes come with a later release"),
    NO_EFFECT("MacAddress", "nobody sees it here; give it to the network's endpoint"),
    NO_EFFECT("Domainname", "no name service knows it"),
    REFUSED("HostConfig.Binds", later_volumes),
    REFUSED("HostConfig.Mounts", later_volumes),
    REFUSED("HostConfig.VolumesFrom", later_volumes),
    REFUSED("HostConfig.VolumeDriver", later_volumes),
    REFUSED("HostConfig.Tmpfs", later_volumes),
    NO_EFFECT("HostConfig.NetworkMode=host",
              "programs reach what is outside; the host's own loopback and ports stay out of reach"),
    REFUSED("HostConfig.PortBindings", later_ports),
    REFUSED("HostConfig.PublishAllPorts", later_ports),
    REFUSED("HostConfig.Links", "put both containers on a network of their own: names resolve there"),
    NO_EFFECT("HostConfig.CapAdd", no_privilege),
    NO_EFFECT("HostConfig.CapDrop", no_privilege),
    NO_EFFECT("HostConfig.Privileged", no_privilege),
    NO_EFFECT("HostConfig.SecurityOpt", no_privilege),
    REFUSED("HostConfig.GroupAdd", "name the groups in the image's /etc/group instead"),
    REFUSED("HostConfig.PidMode", no_kernel),
    REFUSED("HostConfig.IpcMode!=private|shareable|none", no_kernel),
    REFUSED("HostConfig.UTSMode", no_kernel),
    REFUSED("HostConfig.UsernsMode", no_kernel),
    REFUSED("HostConfig.CgroupnsMode!=private", no_kernel),
    REFUSED("HostConfig.Cgroup", no_kernel),
    REFUSED("HostConfig.CgroupParent", no_kernel),
    REFUSED("HostConfig.Sysctls", no_kernel),
    REFUSED("HostConfig.Devices", "the sandbox has no devices of the host's"),
    REFUSED("HostConfig.DeviceCgroupRules", "the sandbox has no devices of the host's"),
    REFUSED("HostConfig.DeviceRequests", "the sandbox has no devices of the host's, GPUs included"),
    REFUSED("HostConfig.ReadonlyRootfs", "read-only root filesystems come with a later release"),
    REFUSED("HostConfig.StorageOpt",
            "the size of a container's filesystem cannot be limited in this release"),
    REFUSED("HostConfig.Runtime!=sandbox", "the only runtime of this release is \"sandbox\""),
    REFUSED("HostConfig.Isolation!=default", "the only isolation is \"default\""),
    NO_EFFECT("HostConfig.Init", "the container's agent reaps orphans in any case"),
    NO_EFFECT("HostConfig.ShmSize", no_limit),
    NO_EFFECT("HostConfig.OomScoreAdj", no_limit),
    NO_EFFECT("HostConfig.OomKillDisable", no_limit),
    NO_EFFECT("HostConfig.CpuShares", no_limit),
    NO_EFFECT("HostConfig.NanoCpus", no_limit),
    NO_EFFECT("HostConfig.CpuPeriod", no_limit),
    NO_EFFECT("HostConfig.CpuQuota", no_limit),
    NO_EFFECT("HostConfig.CpuRealtimePeriod", no_limit),
    NO_EFFECT("HostConfig.CpuRealtimeRuntime", no_limit),
    NO_EFFECT("HostConfig.CpusetCpus", no_limit),
    NO_EFFECT("HostConfig.CpusetMems", no_limit),
    NO_EFFECT("HostConfig.Memory", no_limit),
    NO_EFFECT("HostConfig.MemoryReservation", no_limit),
    NO_EFFECT("HostConfig.MemorySwap", no_limit),
    NO_EFFECT("HostConfig.KernelMemory", no_limit),
    NO_EFFECT("HostConfig.KernelMemoryTCP", no_limit),
    NO_EFFECT("HostConfig.BlkioWeight", no_limit),
    NO_EFFECT("HostConfig.BlkioWeightDevice", no_limit),
    NO_EFFECT("HostConfig.BlkioDeviceReadBps", no_limit),
    NO_EFFECT("HostConfig.BlkioDeviceWriteBps", no_limit),
    NO_EFFECT("HostConfig.BlkioDeviceReadIOps", no_limit),
    NO_EFFECT("HostConfig.BlkioDeviceWriteIOps", no_limit),
    { 0 },
};
