"""How to start and stop each file system: on this machine, with everything in one directory."""
import os
import shlex
import shutil
import socket
import subprocess
import time


class Failed(Exception):
    """A system that cannot be started says why."""


def run(*command, **options):
    """Run a command to its end; its last words become the error."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    if done.returncode != 0:
        raise Failed(f"{command[0]}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def free_ports(count):
    """Ports that nobody listens on at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for(condition, what, seconds=30):
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{what} took more than {seconds} s")
        time.sleep(0.05)


def remove(work):
    """Remove a directory; a server may take a moment to let go of its files."""
    for _ in range(50):
        shutil.rmtree(work, ignore_errors=True)
        if not os.path.exists(work):
            return
        time.sleep(0.1)


def answers(address, port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def htfs_programs(root):
    """Where master, chunk and client are: in $HTFS_BIN, as for the suites, or where cargo builds them."""
    return os.environ.get("HTFS_BIN") or os.path.join(root, "target", "release")


class System:
    """A file system with a mount in its directory."""

    def __init__(self, work, root):
        self.work, self.root = work, root
        self.mount = os.path.join(work, "mnt")
        self.remount = None
        self.processes = []
        os.mkdir(self.mount)

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def spawn(self, *command, **options):
        """Start a server that stays in the foreground."""
        log = open(self.path("log"), "a")
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.work, **options))

    def script(self, name, *lines):
        """A shell script in the directory; its path, for the ruler."""
        path = self.path(name)
        with open(path, "w") as file:
            file.write("#!/bin/sh\nset -e\n" + "\n".join(lines) + "\n")
        os.chmod(path, 0o755)
        return path

    def mount_by(self, *command):
        """Mount with a command that returns, and remount with the same."""
        unmount = f"umount {self.mount} || {{ sleep 1; umount {self.mount}; }}"
        self.remount = self.script("remount", unmount, shlex.join(command))
        run(*command)
        self.wait_for_mount()

    def wait_for_mount(self):
        wait_for(lambda: os.path.ismount(self.mount), "mounting")

    def stop(self):
        """Take everything down, whatever was begun."""
        for _ in range(20):
            if not os.path.ismount(self.mount):
                break
            subprocess.run(["umount", self.mount], capture_output=True)
            time.sleep(0.2)
        else:
            subprocess.run(["umount", "-l", self.mount], capture_output=True)
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Ext4(System):
    """The machine's own disk, for comparison. Not a mount: caches are dropped instead."""

    def start(self):
        pass

    def stop(self):
        pass


class Htfs(System):
    """A master, chunk servers, a mount; TLS everywhere."""

    def __init__(self, work, root, chunk_servers=3):
        super().__init__(work, root)
        self.chunk_servers = chunk_servers

    def start(self):
        programs = htfs_programs(self.root)
        # They are gone for a moment while somebody builds.
        for name in ("master", "chunk", "client"):
            wait_for(lambda: os.path.exists(os.path.join(programs, name)),
                     f"finding {name} in {programs} (cargo build --release makes it)", 3)
        shutil.copy(os.path.join(self.root, "openssl-gen.sh"), self.work)
        run("./openssl-gen.sh", cwd=self.work)
        port, *chunks = free_ports(1 + self.chunk_servers)
        url = f"https://localhost:{port}"
        self.spawn(os.path.join(programs, "master"), "--listen", f"localhost:{port}")
        for chunk in chunks:
            self.spawn(os.path.join(programs, "chunk"), str(chunk), "--master", url)
        for each in (port, *chunks):
            wait_for(lambda: answers("localhost", each), f"port {each}")
        wait_for(lambda: self.servers_seen() == len(chunks), "finding all chunk servers")
        client = shlex.join([os.path.join(programs, "client"), self.mount, "--master", url])
        begin = f"cd {self.work}; {client} >>log 2>&1 & echo $! >{self.path('client.pid')}"
        end = f"kill $(cat {self.path('client.pid')}); tail --pid=$(cat {self.path('client.pid')}) -s 0.05 -f /dev/null"
        is_mounted = f"until mountpoint -q {self.mount}; do sleep 0.05; done"
        self.remount = self.script("remount", end, begin, is_mounted)
        self.end = self.script("end", end)
        run(self.script("begin", begin, is_mounted))

    def servers_seen(self):
        """Chunk servers that the master puts contents on."""
        with open(self.path("log")) as log:
            return log.read().count("the chunk server is there")

    def client_pid(self):
        """The process behind the mount; another one after a remount."""
        with open(self.path("client.pid")) as file:
            return int(file.read())

    def stop(self):
        if os.path.exists(self.path("client.pid")):
            subprocess.run([self.end], capture_output=True, timeout=60)
        super().stop()


class Sshfs(System):
    """One server for everything: an sshd of its own, with its own keys."""

    def start(self):
        for key in ("host", "user"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.path(key))
        shutil.copy(self.path("user.pub"), self.path("authorized"))
        os.mkdir(self.path("data"))
        os.makedirs("/run/sshd", exist_ok=True)
        (port,) = free_ports(1)
        with open(self.path("sshd_config"), "w") as file:
            file.write(f"Port {port}\nListenAddress 127.0.0.1\nHostKey {self.path('host')}\n"
                       f"AuthorizedKeysFile {self.path('authorized')}\nStrictModes no\nUsePAM no\n"
                       "PermitRootLogin yes\nPidFile none\nSubsystem sftp internal-sftp\n")
        self.spawn("/usr/sbin/sshd", "-D", "-e", "-f", self.path("sshd_config"))
        wait_for(lambda: answers("127.0.0.1", port), "sshd")
        self.mount_by("sshfs", f"root@127.0.0.1:{self.path('data')}", self.mount, "-p", str(port),
                      "-o", f"IdentityFile={self.path('user')}", "-o", "StrictHostKeyChecking=no",
                      "-o", "UserKnownHostsFile=/dev/null")


class Isolated(System):
    """A system that refuses loopback addresses: it gets a network namespace, whose loopback has
    another one."""

    address = "10.77.77.1"

    def start(self):
        self.space = f"htfs-bench-{os.getpid()}"
        run("ip", "netns", "add", self.space)
        run(*self.inside("ip", "link", "set", "lo", "up"))
        run(*self.inside("ip", "addr", "add", f"{self.address}/32", "dev", "lo"))
        self.start_inside()

    def inside(self, *command):
        # Not `ip netns exec`: it would hide mounts.
        return ("nsenter", f"--net=/run/netns/{self.space}", *command)

    def stop(self):
        super().stop()
        self.stop_inside()
        subprocess.run(["ip", "netns", "delete", self.space], capture_output=True)

    def stop_inside(self):
        pass


class Moosefs(Isolated):
    """A master, three chunk servers, goal 1; no encryption, it has none."""

    def start_inside(self):
        def configure(name, **options):
            os.makedirs(self.path(name), exist_ok=True)
            options = {"WORKING_USER": "root", "WORKING_GROUP": "root", "DATA_PATH": self.path(name), **options}
            with open(self.path(name + ".cfg"), "w") as file:
                file.writelines(f"{key} = {value}\n" for key, value in options.items())
            return self.path(name + ".cfg")

        with open(self.path("exports"), "w") as file:
            file.write("* / rw,alldirs,admin,maproot=0:0\n")
        master = configure("master", EXPORTS_FILENAME=self.path("exports"))
        with open(self.path("master", "metadata.mfs"), "wb") as file:
            file.write(b"MFSM NEW")
        self.spawn(*self.inside("mfsmaster", "-c", master, "-f", "start"))
        for number in range(3):
            disk = self.path(f"disk{number}")
            os.mkdir(disk)
            with open(self.path(f"hdd{number}"), "w") as file:
                file.write(disk + "\n")
            chunk = configure(f"chunk{number}", MASTER_HOST=self.address, CSSERV_LISTEN_PORT=9422 + number,
                              HDD_CONF_FILENAME=self.path(f"hdd{number}"), BIND_HOST=self.address,
                              HDD_LEAVE_SPACE_DEFAULT="64MiB")
            self.spawn(*self.inside("mfschunkserver", "-c", chunk, "-f", "start"))
        time.sleep(5)  # A chunk server says nowhere that the master has taken it.
        self.mount_by(*self.inside("mfsmount", self.mount, "-H", self.address))
        run(*self.inside("mfssetgoal", "-r", "1", self.mount))


class Glusterfs(Isolated):
    """Three bricks in one distributed volume; TLS between mount and bricks."""

    keys = "/usr/lib/ssl/glusterfs."
    state = "/var/lib/glusterd"
    is_begun = False

    def start_inside(self):
        if any(os.path.exists(self.keys + end) for end in ("pem", "key", "ca")):
            raise Failed(f"{self.keys}* are there already; they are somebody's")
        if os.path.exists(self.state + "/vols") and os.listdir(self.state + "/vols"):
            raise Failed(f"{self.state} has volumes already; they are somebody's")
        self.is_begun = True
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=htfs-bench",
            "-keyout", self.keys + "key", "-out", self.keys + "pem")
        shutil.copy(self.keys + "pem", self.keys + "ca")
        self.spawn(*self.inside("glusterd", "--no-daemon"))
        wait_for(self.is_ready, "glusterd")
        bricks = [f"{self.address}:{self.path(f'brick{number}')}" for number in range(3)]
        self.gluster("volume", "create", "bench", *bricks, "force")
        for option in ("client.ssl", "server.ssl"):
            self.gluster("volume", "set", "bench", option, "on")
        self.gluster("volume", "set", "bench", "auth.ssl-allow", "htfs-bench")
        self.gluster("volume", "start", "bench")
        self.mount_by(*self.inside("glusterfs", "--volfile-server", self.address, "--volfile-id", "bench", self.mount))

    def is_ready(self):
        return subprocess.run(self.inside("gluster", "--mode=script", "pool", "list"), capture_output=True).returncode == 0

    def gluster(self, *words):
        return run(*self.inside("gluster", "--mode=script", *words))

    def stop_inside(self):
        for end in ("pem", "key", "ca"):
            if self.is_begun and os.path.exists(self.keys + end):
                os.remove(self.keys + end)

    def stop(self):
        for words in (("stop", "bench", "force"), ("delete", "bench")) if self.is_begun else ():
            subprocess.run(["umount", self.mount], capture_output=True)
            subprocess.run(self.inside("gluster", "--mode=script", "volume", *words), capture_output=True)
        super().stop()


SYSTEMS = {"htfs": Htfs, "moosefs": Moosefs, "sshfs": Sshfs, "glusterfs": Glusterfs, "ext4": Ext4}
