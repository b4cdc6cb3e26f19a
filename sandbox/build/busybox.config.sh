# Sourced in busybox' source folder: defconfig, and what differs from it, with reasons.

config_off() {
    local name
    for name in "$@"; do sed -i "s/^CONFIG_$name=.*/# CONFIG_$name is not set/" .config; done
}

config_on() {
    local name
    for name in "$@"; do
        sed -i "/^# CONFIG_$name is not set/d; /^CONFIG_$name=/d" .config
        echo "CONFIG_$name=y" >>.config
    done
}

make defconfig >/dev/null
config_on STATIC
# linker tricks, libraries that are not there
config_off FEATURE_USE_BSS_TAIL FEATURE_HAVE_RPC FEATURE_INETD_RPC PAM SELINUX
# A shell starts what the image holds, by its PATH: an applet must never stand before a program of the user's.
config_off FEATURE_PREFER_APPLETS FEATURE_SH_STANDALONE FEATURE_SH_NOFORK
# root's /etc/busybox.conf is no business of a program that is never setuid
config_off FEATURE_SUID_CONFIG FEATURE_SUID
# full command lines, as people expect of ps
config_on FEATURE_PS_WIDE
(yes '' || true) | make oldconfig >/dev/null
