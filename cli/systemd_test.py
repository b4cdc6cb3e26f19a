"""The unit files: what they promise, and (where the program is there) systemd's own judgement."""
import configparser
import os
import shutil
import subprocess
import sys
import tempfile
import unittest


def read(path):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(path)
    return parser


class UnitsTest(unittest.TestCase):
    def test_a_stop_leaves_containers_and_a_start_is_waited_for(self):
        service = read(SERVICE)["Service"]
        self.assertEqual((service["Type"], service["KillMode"]), ("notify", "process"))
        self.assertTrue(service["ExecStart"].startswith("/") and service["ExecStart"].endswith("/sockerless serve"))
        self.assertNotIn("@", service["ExecStart"])
        # A folder that systemd clears would take the socket with it.
        self.assertNotIn("RuntimeDirectory", service)
        self.assertGreater(int(service["TimeoutStopSec"]), 12 + 20)  # FRONTEND_GRACE_MS and BACKEND_GRACE_MS of cmd_serve.c

    def test_the_socket_is_the_default_address(self):
        self.assertEqual(read(SOCKET)["Socket"]["ListenStream"], "/run/sockerless/docker.sock")
        self.assertEqual(read(SOCKET)["Socket"]["SocketMode"], "0660")

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not installed")
    def test_systemd_takes_them(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(SERVICE, encoding="utf-8") as file:
                text = file.read()
            program = read(SERVICE)["Service"]["ExecStart"].split()[0]
            with open(folder + "/sockerless.service", "w", encoding="utf-8") as file:
                file.write(text.replace(program, "/bin/true"))  # it is not installed here
            shutil.copy(SOCKET, folder)
            done = subprocess.run(["systemd-analyze", "verify", folder + "/sockerless.service", folder + "/sockerless.socket"],
                                  capture_output=True, text=True, timeout=60, env={**os.environ, "SYSTEMD_UNIT_PATH": folder + ":"})
            ours = [line for line in done.stderr.splitlines() if folder in line or "sockerless" in line]
            self.assertEqual(ours, [])


if __name__ == "__main__":
    SERVICE, SOCKET = sys.argv[1:3]
    del sys.argv[1:3]
    unittest.main()
