"""Writes the root file system of the built-in image sockerless/base.

usage: make-rootfs.py APPLETS OUT.tar

APPLETS is what `sockerless-sandbox --applets` prints. The same input gives the same bytes: sorted, without
times and owners.
"""
import io
import os
import sys
import tarfile

FOLDERS = ('bin dev etc etc/profile.d home proc root run sbin sys tmp usr usr/bin usr/lib usr/local '
           'usr/local/bin usr/sbin var var/log var/tmp').split()
MODES = {'root': 0o700, 'tmp': 0o1777, 'var/tmp': 0o1777}
# The sandbox looks only at the first bytes: it runs its own busybox. Elsewhere it says what it is.
BUSYBOX = b'\x7fELF: Sockerless runs its own busybox in place of this file.\n'


def entry(name, kind, mode, **more):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = kind, mode, 0
    info.uid = info.gid = 0
    for key, value in more.items():
        setattr(info, key, value)
    return info


def entries(applets):
    found = {name: (entry(name, tarfile.DIRTYPE, MODES.get(name, 0o755)), b'') for name in FOLDERS}
    etc = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'etc')
    for name in os.listdir(etc):
        with open(os.path.join(etc, name), 'rb') as file:
            content = file.read()
        found['etc/' + name] = (entry('etc/' + name, tarfile.REGTYPE, 0o644, size=len(content)), content)
    found['bin/busybox'] = (entry('bin/busybox', tarfile.REGTYPE, 0o755, size=len(BUSYBOX)), BUSYBOX)
    for path in applets:
        name = path.lstrip('/')
        if name not in found:
            found[name] = (entry(name, tarfile.SYMTYPE, 0o777, linkname='/bin/busybox'), b'')
    return [found[name] for name in sorted(found)]


def main():
    with open(sys.argv[1]) as file:
        applets = file.read().split()
    with tarfile.open(sys.argv[2], 'w', format=tarfile.USTAR_FORMAT) as tar:
        for info, content in entries(applets):
            tar.addfile(info, io.BytesIO(content))


main()
