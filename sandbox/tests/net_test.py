"""Networks of the sandbox (sandbox/net.h), one case a promise.

usage: net_test.py SANDBOX NETCHECK [PART-OF-NAME...]

NETCHECK is the sandbox with netcheck.c as its guest. Speaks TAP.
"""

import hashlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

SANDBOX, NETCHECK = map(os.path.abspath, sys.argv[1:3])
ENVIRONMENT = {'PATH': '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', 'HOME': '/root'}
TIMEOUT = 60
AS_NOBODY = ('setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups')
CASES = []


def case(function):
    CASES.append(('/sandbox-net/' + function.__name__.removeprefix('test_').replace('_', '-'), function))
    return function


def check(condition, *what):
    if not condition:
        raise AssertionError(' '.join(str(part) for part in what))


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as file:
        file.write(text)


class World:
    """A folder of networks, as the supervisor keeps it, and one root for all containers."""

    def __init__(self, folder):
        self.net, self.root = f'{folder}/net', f'{folder}/root'
        for name in 'bin dev etc home proc root sbin tmp srv usr/bin usr/sbin usr/local/bin'.split():
            os.makedirs(f'{self.root}/{name}')
        write(f'{self.root}/bin/busybox', '\x7fELF stub')
        os.chmod(f'{self.root}/bin/busybox', 0o755)
        os.chmod(f'{self.root}/tmp', 0o1777)
        for path in subprocess.check_output([SANDBOX, '--applets'], text=True).split():
            if path != '/bin/busybox':
                os.symlink('/bin/busybox', self.root + path)
        write(f'{self.root}/etc/resolv.conf', 'nameserver 127.0.0.11\n')
        write(f'{self.root}/srv/index.html', 'hello\n')
        write(f'{self.net}/subnets', '172.18.0.0/16\n172.19.0.0/16\n')
        self.join('web', 'n1', '172.18.0.2')
        self.join('other', 'n1', '172.18.0.3')
        self.join('apart', 'n2', '172.19.0.2')
        self.join('shut', 'n3', '172.20.0.2', reach='internal')
        self.running = []

    def join(self, name, network, address, reach='outside', more=''):
        folder = f'{self.net}/endpoints/{name}'
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o777)
        gateway = address.rsplit('.', 1)[0] + '.1'
        line = f'interface eth0 {network} {address}/16 {gateway} 02:42:ac:12:00:02 {reach} {network} names\n'
        write(f'{self.net}/config/{name}', line + more)
        os.makedirs(f'{self.net}/{network}/at', exist_ok=True)
        os.symlink(f'../../endpoints/{name}', f'{self.net}/{network}/at/{address}')
        write(f'{self.net}/{network}/names/{name}', address)
        write(f'{self.net}/{network}/ptr/{address}', f'{name}.{network}')

    def argv(self, name, argv, options=(), program=None, prefix=()):
        where = ('--root', self.root, '--network', self.net, '--endpoint', name)
        return [*prefix, program or SANDBOX, *where, *options, '--', *argv]

    def run(self, name, *argv, **more):
        options = {key: more.pop(key) for key in ('options', 'program', 'prefix') if key in more}
        return subprocess.run(
            self.argv(name, argv, **options),
            env=ENVIRONMENT,
            stdin=more.pop('stdin', subprocess.DEVNULL),
            capture_output=True,
            timeout=TIMEOUT,
            **more,
        )

    def sh(self, name, script, **more):
        done = self.run(name, 'sh', '-c', script, **more)
        return done.stdout.decode() + done.stderr.decode()

    def start(self, name, *argv, **more):
        process = subprocess.Popen(
            self.argv(name, argv), env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more
        )
        self.running.append(process)
        return process

    def serve(self, name='web', port=80):
        process = self.start(name, 'httpd', '-f', '-p', str(port), '-h', '/srv')
        self.wait_for(f'{self.net}/endpoints/{name}/0.0.0.0:{port}:tcp')
        return process

    @staticmethod
    def wait_for(path, seconds=10):
        deadline = time.monotonic() + seconds
        while not os.path.exists(path):
            check(time.monotonic() < deadline, path, 'did not come')
            time.sleep(0.01)

    def end(self):
        for process in self.running:
            process.kill()
            process.wait()


@case
def test_socket_calls_keep_their_promises(world):
    done = world.run('web', '/bin/busybox', program=NETCHECK)
    check(done.returncode == 0, done.stdout.decode(), done.stderr.decode())


@case
def test_socket_calls_keep_their_promises_as_nobody(world):
    if os.geteuid() != 0:
        return 'needs root'
    subprocess.run(['chown', '-R', '65534:65534', os.path.dirname(world.net)], check=True)
    done = world.run('web', '/bin/busybox', program=NETCHECK, prefix=AS_NOBODY)
    check(done.returncode == 0, done.stdout.decode(), done.stderr.decode())
    return None


@case
def test_users_of_a_container_share_its_sockets(world):
    if os.geteuid() != 0:
        return 'needs root'
    world.serve()
    check(world.sh('other', 'wget -qO- http://web/', options=('--user', '1000:1000')) == 'hello\n')
    check('in use' in world.sh('web', 'nc -l -p 80', options=('--user', '1000:1000')))
    return None


@case
def test_by_address_and_by_name(world):
    world.serve()
    for name in ('172.18.0.2', 'web', 'WEB', 'web.n1'):
        check(world.sh('other', f'wget -qO- http://{name}/') == 'hello\n', name)


@case
def test_loopback_is_the_containers_own(world):
    world.serve()
    check(world.sh('web', 'wget -qO- http://127.0.0.1/') == 'hello\n')
    check('refused' in world.sh('other', 'wget -qO- http://127.0.0.1/'))
    with socket.create_server(('127.0.0.1', 0)) as host:
        port = host.getsockname()[1]
        check('1\n' in world.sh('web', f'nc 127.0.0.1 {port}; echo $?'))


@case
def test_networks_are_apart(world):
    world.serve()
    check('unreachable' in world.sh('apart', 'wget -qO- http://172.18.0.2/'))
    check('bad address' in world.sh('apart', 'wget -qO- http://web/'))


@case
def test_addresses_that_nobody_may_reach(world):
    for address in ('169.254.169.254', '224.0.0.1', '255.255.255.255', '0.1.2.3'):
        check('unreachable' in world.sh('web', f'wget -qO- http://{address}/'), address)
    check('unreachable' in world.sh('web', 'wget -qO- http://172.18.9.9/'))


def outward_address():
    """An address of this machine that is neither loopback nor link-local, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(('192.0.2.77', 9))
        except OSError:
            return None
        return probe.getsockname()[0]


@case
def test_outside_is_reached_but_not_from_internal_networks(world):
    address = outward_address()
    if not address or address.startswith(('127.', '169.254.')):
        return 'no way out here'
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.sendall(connection.recv(100).upper())

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        check(world.sh('web', f'echo through | nc {address} {port}') == 'THROUGH\n')
        thread.join(TIMEOUT)
        for name, options in (('shut', ()), ('web', ('--no-outside',))):
            said = world.sh(name, f'wget -qO- http://{address}:{port}/', options=options)
            check('unreachable' in said, name, said)
    return None


@case
def test_datagrams_go_outside_and_come_back(world):
    address = outward_address()
    if not address or address.startswith(('127.', '169.254.')):
        return 'no way out here'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 0))
        server.settimeout(TIMEOUT)

        def answer():
            query, client = server.recvfrom(100)
            server.sendto(query.upper(), client)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        said = world.sh('web', f'echo datagram | nc -u -w 1 {address} {server.getsockname()[1]}')
        check(said == 'DATAGRAM\n', said)
        thread.join(TIMEOUT)
    return None


@case
def test_names_of_the_outside_are_asked_of_the_hosts_servers(world):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(('127.0.0.1', 0))
        world.join('asker', 'n1', '172.18.0.9', more=f'nameserver 127.0.0.1 {server.getsockname()[1]}\n')
        server.settimeout(TIMEOUT)

        def answer():
            for _ in range(2):
                query, client = server.recvfrom(512)
                is_a = query[-3] == 1
                record = struct.pack('>HHHIH', 0xC00C, 1, 1, 60, 4) + socket.inet_aton('203.0.113.5')
                head = query[:2] + b'\x81\x80\0\1' + struct.pack('>H', is_a) + b'\0\0\0\0'
                server.sendto(head + query[12:] + (record if is_a else b''), client)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        said = world.sh('asker', 'nslookup far.example')
        check('203.0.113.5' in said, said)
        thread.join(TIMEOUT)


@case
def test_nslookup_forwards_and_back(world):
    check('172.18.0.2' in world.sh('other', 'nslookup web'))
    check('web.n1' in world.sh('other', 'nslookup 172.18.0.2'))
    check('NXDOMAIN' in world.sh('shut', 'nslookup elsewhere.example'))


@case
def test_ping(world):
    check('1 packets received' in world.sh('other', 'ping -c1 web'))
    check('unreachable' in world.sh('other', 'ping -c1 172.18.0.77'))
    check('not permitted' in world.sh('other', 'ping -c1 192.0.2.1'))


@case
def test_datagrams_between_containers(world):
    log = f'{world.root}/tmp/got'
    world.start('web', 'sh', '-c', 'nc -u -l -p 5000 > /tmp/got')
    world.wait_for(f'{world.net}/endpoints/web/0.0.0.0:5000:udp')
    world.sh('other', 'echo datagram | nc -u -w 1 web 5000')
    deadline = time.monotonic() + 10
    while not os.path.exists(log) or open(log).read() != 'datagram\n':
        check(time.monotonic() < deadline, 'nothing came')
        time.sleep(0.01)


@case
def test_a_hundred_connections_at_once(world):
    world.serve()
    script = 'i=0; while [ $i -lt 100 ]; do wget -qO- http://web/ & i=$((i+1)); done; wait'
    check(world.sh('other', script) == 'hello\n' * 100)


@case
def test_a_hundred_megabytes_stay_intact(world):
    content = os.urandom(1 << 20) * 100
    with open(f'{world.root}/srv/big', 'wb') as file:
        file.write(content)
    world.serve()
    said = world.sh('other', 'wget -qO- http://web/big | sha256sum')
    check(said.split()[0] == hashlib.sha256(content).hexdigest(), said)


@case
def test_a_killed_servers_port_is_free(world):
    process = world.serve()
    process.kill()
    process.wait()
    check('refused' in world.sh('other', 'wget -qO- http://web/'))
    world.serve()
    check(world.sh('other', 'wget -qO- http://web/') == 'hello\n')


@case
def test_clients_leave_no_names_behind(world):
    world.serve()
    world.sh('other', 'for i in 1 2 3; do wget -qO- http://web/; done')
    check(os.listdir(f'{world.net}/endpoints/other') == [])


@case
def test_a_network_is_joined_and_left_while_running(world):
    world.serve()
    script = (
        'wget -qO- http://172.19.0.9/ 2>/dev/null && exit 3; touch /tmp/before; while [ ! -e /tmp/joined ]; do sleep .02; '
        'done; wget -qO- http://172.19.0.9/ || exit 4'
    )
    process = world.start('apart', 'sh', '-c', script)
    world.wait_for(f'{world.root}/tmp/before')
    os.symlink('../../endpoints/web', f'{world.net}/n2/at/172.19.0.9')
    write(f'{world.root}/tmp/joined', '')
    check(process.wait(TIMEOUT) == 0, process.returncode)


@case
def test_none_has_a_loopback_only(world):
    os.makedirs(f'{world.net}/endpoints/alone', mode=0o777)
    said = world.sh(
        'alone', '(echo in | nc -l -p 9) & sleep .3; nc 127.0.0.1 9 </dev/null; wget -qO- http://172.18.0.2/',
        options=('--no-outside',),
    )
    check(said.startswith('in\n') and 'unreachable' in said, said)


def main():
    wanted = [one for one in CASES if not sys.argv[3:] or any(part in one[0] for part in sys.argv[3:])]
    print(f'1..{len(wanted)}', flush=True)
    failed = 0
    for number, (name, function) in enumerate(wanted, 1):
        folder = tempfile.mkdtemp()
        os.chmod(folder, 0o755)
        world = World(folder)
        try:
            skipped = function(world)
            print(f'ok {number} {name}' + (f' # SKIP {skipped}' if skipped else ''), flush=True)
        except Exception as error:  # a failing case must not stop the others
            failed += 1
            print(f'not ok {number} {name}\n# ' + str(error).replace('\n', '\n# '), flush=True)
        finally:
            world.end()
            shutil.rmtree(folder)
    return failed != 0


sys.exit(main())
