#!/bin/bash
# usage: control.sh COMMAND...
#
# Runs COMMAND with SL_TEST_HOST naming a Docker Engine of its own: dockerd on a private socket and private folders, without bridge and
# firewall rules, with an image `alpine` made of Debian's static busybox. Needs root and the package docker.io; nothing is left behind.
set -euo pipefail
command -v dockerd >/dev/null || { echo "control: dockerd is not installed (package docker.io)" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "control: dockerd needs root" >&2; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/sockerless-control.XXXXXX")
engine=

finish() {
    if [ -n "$engine" ]; then
        docker ps -aq 2>/dev/null | xargs -r docker rm -f >/dev/null 2>&1 || true
        kill "$engine" 2>/dev/null || true
        wait "$engine" 2>/dev/null || true
    fi
    grep -o " $work/[^ ]*" /proc/mounts | xargs -r umount -l 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

dockerd -H "unix://$work/docker.sock" --data-root "$work/root" --exec-root "$work/exec" -p "$work/pid" --bridge=none --iptables=false \
    --storage-driver=vfs --shutdown-timeout=2 >"$work/log" 2>&1 &
engine=$!
export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/config
for _ in $(seq 300); do
    docker version >/dev/null 2>&1 && break
    kill -0 "$engine" 2>/dev/null || { tail -n 20 "$work/log" >&2; exit 1; }
    sleep 0.1
done

mkdir -p "$work"/image/{bin,dev,etc,home,proc,root,run,sbin,sys,tmp,usr/bin,usr/sbin,var/tmp} "$work/package"
chmod 1777 "$work/image/tmp"
(cd "$work/package" && apt-get download -q busybox-static >/dev/null && dpkg -x busybox-static_*.deb .)
cp "$work"/package/bin/busybox "$work/image/bin/"
for applet in $("$work/image/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$work/image/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$work/image/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$work/image/etc/group"
printf 'ID=control\nPRETTY_NAME="Control"\n' >"$work/image/etc/os-release"
tar -C "$work/image" -c . | docker import -c 'CMD ["/bin/sh"]' \
    -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - alpine:latest >/dev/null
docker tag alpine:latest busybox:latest

status=0
SL_TEST_HOST=$DOCKER_HOST "$@" || status=$?
exit $status
