"""A docker daemon, or a podman, of the test's own, with private directories, and small images made from the programs of this
machine."""

import contextlib
import io
import os
import re
import resource
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from deps import argvs, components, configure, files_with, get
from lib import BIN, TOP, Failed, Proc, Skipped, all_pids, check, contains, equal, listens, read_bytes, wait_for

POSTGRES = "/usr/lib/postgresql/15"

# What the official image does, as far as envctl relies on it.
POSTGRES_ENTRY = """#!/bin/sh
set -e
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA"
  chown postgres "$PGDATA"
  chmod 700 "$PGDATA"
  exec setpriv --reuid postgres --regid postgres --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf '%s\\n' "$POSTGRES_PASSWORD" >/tmp/pw
  initdb -D "$PGDATA" -U "$POSTGRES_USER" -A scram-sha-256 --pwfile=/tmp/pw -E UTF8 --no-locale --no-sync
  rm /tmp/pw
  printf 'host all all all scram-sha-256\\n' >>"$PGDATA/pg_hba.conf"
  if [ "$POSTGRES_DB" != postgres ]; then
    printf 'create database "%s"\\n' "$POSTGRES_DB" | postgres --single -D "$PGDATA" postgres
  fi
fi
exec postgres -D "$PGDATA" -c "listen_addresses=*" -k /tmp
"""


def libraries(program):
    out = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return {w for line in out.splitlines() for w in line.split() if w.startswith("/")}


def image(docker, name, programs, extra=(), files=None, changes=()):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        seen = set()

        def folders(target):
            parts = target.split("/")[:-1]
            for i in range(1, len(parts) + 1):
                folder = "/".join(parts[:i])
                if folder not in seen:
                    seen.add(folder)
                    info = tarfile.TarInfo(folder)
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(info)

        def add(path, target=None):
            target = (target or path).lstrip("/")
            if target not in seen and os.path.exists(path):
                seen.add(target)
                folders(target)
                tar.add(os.path.realpath(path) if os.path.isfile(path) else path, target)

        for program in programs:
            path = program if program.startswith("/") else shutil.which(program)
            for lib in libraries(path):
                add(lib)
            add(path, path if program.startswith("/") else "/bin/" + program)
        for path in extra:
            add(path)
        every = {
            "etc/passwd": "root:x:0:0::/:/bin/sh\npostgres:x:70:70::/:/bin/sh\n",
            "etc/group": "root:x:0:\npostgres:x:70:\n",
            **(files or {}),
        }
        for path, text in every.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(text.encode()), 0o755 if text.startswith("#!") else 0o644
            tar.addfile(info, io.BytesIO(text.encode()))
        for path in ("tmp", "data", "var/lib/postgresql/data"):
            folders(path)
            if path in seen:
                continue
            info = tarfile.TarInfo(path)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(info)
    args = [a for c in changes for a in ("--change", c)]
    done = docker("import", *args, "-", name, input=data.getvalue())
    if done.returncode:
        raise Failed(f"docker import: {done.stderr.decode()}")


class Daemon:
    """dockerd with everything below one directory. Calling it runs the docker command."""

    def __init__(self, top, options):
        self.top, self.sock, self.options = top, f"unix://{top}/d.sock", options
        # A bridge of its own: other daemons of this machine have theirs.
        self.bridge = f"br{os.getpid()}"
        self.env = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "DOCKER_HOST": self.sock}
        self.process = None

    def __call__(self, *args, input=None, timeout=120):
        return subprocess.run(["docker", *args], env=self.env, input=input, capture_output=True, timeout=timeout)

    def prepare(self):
        subnet = os.getpid() % 200 + 20
        for command in (["add", self.bridge, "type", "bridge"], ["set", self.bridge, "up"]):
            self.must("ip", "link", *command)
        self.must("ip", "addr", "add", f"10.213.{subnet}.1/24", "dev", self.bridge)

    def must(self, *argv):
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True)
        if done.returncode:
            raise Skipped(f"no containers can run here ({' '.join(argv)}: {done.stderr.strip()})")

    def start(self):
        # containerd lives in the daemon's session: a killed daemon leaves its shims, and with them the containers.
        log = open(self.top / "log", "ab")
        self.process = subprocess.Popen(
            [shutil.which("dockerd", path=self.env["PATH"]), "--data-root", f"{self.top}/data", "--exec-root",
             f"{self.top}/exec", "-H", self.sock, "-p", f"{self.top}/pid", "--iptables=false", "--ip6tables=false",
             "--storage-driver=vfs", f"--bridge={self.bridge}", "--live-restore", *self.options],
            env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )
        log.close()
        wait_for(lambda: self.process.poll() is not None or self("version").returncode == 0, "dockerd", timeout=60)
        if self.process.poll() is not None:
            lines = [n for n in (self.top / "log").read_text().splitlines() if "failed" in n or "error" in n.lower()]
            raise Skipped(f"no containers can run here (dockerd ended: {(lines or ['it does not say why'])[-1][-300:]})")

    def kill(self):
        """As if the machine had run out of memory: the daemon and its containerd, not the containers."""
        for p in [self.process.pid, *self.helpers()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(p, signal.SIGKILL)
        self.process.wait()
        # Where nobody reaps orphans, a daemon that is started again takes the zombie of containerd for one that runs.
        with contextlib.suppress(FileNotFoundError):
            (self.top / "exec/containerd/containerd.pid").unlink()

    def helpers(self):
        """Processes that the daemon started for itself: containerd and the proxies of ports, not the shims of containers."""
        top = str(self.top).encode()
        return [
            p for p in all_pids()
            if re.match(rb"(\S*/)?(containerd|docker-proxy)\0", argv := read_bytes(f"/proc/{p}/cmdline"))
            and (top in argv or Proc(p).ppid == self.process.pid)
        ]

    def end_shims(self):
        """What a daemon that could not be asked any more has left: the shims of containers, and what runs in them."""
        shims = [p for p in all_pids() if b"containerd-shim" in (argv := read_bytes(f"/proc/{p}/cmdline"))
                 and str(self.top).encode() in argv]
        for p in [p for p in all_pids() if Proc(p).ppid in shims] + shims:
            Proc(p).signal(signal.SIGKILL)

    def close(self):
        """Ends everything; once more is nothing."""
        if not self.top.is_dir():
            return
        if self.process and self.process.poll() is not None:
            with contextlib.suppress(Skipped, Failed):
                self.start()
        if self.process and self.process.poll() is None:
            ids = self("ps", "-aq").stdout.decode().split()
            if ids:
                self("rm", "-f", *ids)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.kill()
        self.end_shims()
        subprocess.run(["ip", "link", "del", self.bridge], capture_output=True)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if f"{self.top}/" in line]
        for mount in sorted(mounts, reverse=True):
            subprocess.run(["umount", mount], capture_output=True)
        shutil.rmtree(self.top, ignore_errors=True)


@contextlib.contextmanager
def daemon(w, *options):
    """A daemon, with more options; w's environment points to it. Where none can run, the test is skipped, and says why."""
    if os.geteuid() != 0:
        raise Skipped("no containers can run here (dockerd needs root)")
    if not shutil.which("dockerd", path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
        raise Skipped("no containers can run here (there is no dockerd)")
    docker = Daemon(Path(tempfile.mkdtemp(prefix="e2e-dockerd-")), options)
    w.endings.append(docker.close)
    try:
        docker.prepare()
        docker.start()
        w.env["DOCKER_HOST"] = docker.sock
        yield docker
    finally:
        docker.close()


class Podman:
    """Podman with everything below one directory, and a network of its own. Calling it runs the podman command."""

    def __init__(self, top):
        self.top, self.bridge = top, f"br{os.getpid()}"
        (top / "net").mkdir()
        # Only what this test may raise: a podman of root would raise the limits of its containers as far as it goes.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        (top / "storage.conf").write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{top}/data"\nrunroot = "{top}/run"\n')
        (top / "containers.conf").write_text(
            f'[containers]\ndefault_ulimits = ["nofile={soft}:{hard}", "nproc=4096:4096"]\n'
            f'log_driver = "k8s-file"\n'
            f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\ntmp_dir = "{top}/tmp"\n'
            f'static_dir = "{top}/data/libpod"\nvolume_path = "{top}/volumes"\n'
            f'[network]\nnetwork_config_dir = "{top}/net"\n'
        )
        self.own = {"CONTAINERS_STORAGE_CONF": f"{top}/storage.conf", "CONTAINERS_CONF": f"{top}/containers.conf"}
        self.env = {**os.environ, **self.own, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}

    def __call__(self, *args, input=None, timeout=120):
        return subprocess.run(["podman", *args], env=self.env, input=input, capture_output=True, timeout=timeout)

    def prepare(self):
        subnet = f"10.214.{os.getpid() % 200 + 20}.0/24"
        made = self("network", "create", "--disable-dns", "--subnet", subnet, "own")
        if made.returncode:
            raise Skipped(f"no containers can run here (podman network create: {made.stderr.decode().strip()[-300:]})")
        # Not every podman can be told the name of the bridge, and another test may look for a free one at the same moment.
        name = self("network", "inspect", "--format", "{{.NetworkInterface}}", "own").stdout.decode().strip()
        for path in (self.top / "net").glob("own.*"):
            path.write_text(path.read_text().replace(f'"{name}"', f'"{self.bridge}"'))
        with open(self.top / "containers.conf", "a") as conf:
            conf.write('default_network = "own"\n')

    def monitors(self):
        """What watches the containers of this podman, and outlives them for a moment to clean up."""
        top = str(self.top).encode()
        return [p for p in all_pids() if top in read_bytes(f"/proc/{p}/cmdline")]

    def close(self):
        self("rm", "-f", "-t", "0", "--all", "--volumes")
        wait_for(lambda: not self.monitors(), "podman to clean up", timeout=30)
        self("network", "rm", "-f", "own")
        subprocess.run(["ip", "link", "del", self.bridge], env=self.env, capture_output=True)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if f"{self.top}/" in line]
        for mount in sorted(mounts, reverse=True):
            subprocess.run(["umount", mount], capture_output=True)
        shutil.rmtree(self.top, ignore_errors=True)


@contextlib.contextmanager
def podman(w):
    """A podman; w's environment points to it, and to no docker daemon. Where it cannot run, the test is skipped, and says why."""
    if os.geteuid() != 0:
        raise Skipped("no containers can run here (podman needs root for this)")
    if not shutil.which("podman"):
        raise Skipped("no containers can run here (there is no podman)")
    engine = Podman(Path(tempfile.mkdtemp(prefix="e2e-podman-")))
    try:
        engine.prepare()
        w.env.update(engine.own)
        yield engine
    finally:
        engine.close()


def backend_url(w):
    return w.saved_state()["services"]["Main Backend"]["url"].replace("localhost", "127.0.0.1")


def containers(engine, *args):
    return engine("ps", "-q", "--no-trunc", *args).stdout.decode().split()


def volumes(engine):
    return engine("volume", "ls", "-q").stdout.decode().split()


def life_of_containers(w, data, engine, name, stranger):
    """Postgres and Redis of a repository, from the first start to the last volume. A stranger's container and its volume
    "envctl-postgres-Main" stay."""
    w.envctl("start", "--headless", rc=0, timeout=150)
    parts = components(w.saved_state())
    equal(get(backend_url(w), "/put?kept"), "ok", "put")
    equal(get(backend_url(w), "/incr"), "1", "counter")
    equal({part["engine"] for part in parts.values()}, {name}, "recorded")
    ids = {part["container_id"] for part in parts.values()}
    for id in ids:
        published = engine("port", id).stdout.decode()
        contains(published, "127.0.0.1:", "published on loopback")
        check("0.0.0.0" not in published, "and nowhere else")
    for secret in data.passwords():
        check(secret not in argvs(), "no password in an argument")
        equal(files_with(w.base, secret) + files_with(data.path, secret), [], "files with a password")
    # Somebody kills one; the next start brings it back with its data.
    engine("kill", parts["postgres"]["container_id"])
    wait_for(lambda: components(w.state()["state"])["postgres"]["live"] is False, "the truth")
    wait_for(lambda: "database system is ready" in w.envctl("errors").out, "what it said last")
    w.envctl("start", "--headless", rc=0, timeout=150)
    equal(get(backend_url(w), "/rows"), '["kept"]', "rows")
    # A killed keeper: adopted by the next one.
    for keeper in w.keepers():
        keeper.signal(signal.SIGKILL)
        wait_for(lambda k=keeper: not k.alive, "the keeper to end")
    w.envctl("start", "--headless", rc=0)
    w.envctl("stop", "--headless", rc=0)
    equal(containers(engine), [stranger], "running containers")
    for part in parts.values():
        check(not listens(part["final"]), "its port is free")
    w.envctl("start", "--headless", rc=0, timeout=150)
    equal({c["container_id"] for c in components(w.saved_state()).values()}, ids, "the same containers")
    equal((get(backend_url(w), "/rows"), get(backend_url(w), "/incr")), ('["kept"]', "2"), "data")
    w.envctl("stop-all", "--headless", rc=0)
    w.envctl("data", "reset", "postgres", "--project", "Main", "--yes", rc=0)
    ours = [v for v in volumes(engine) if "repo-" in v]
    check(len(ours) == 1 and "redis" in ours[0], f"only redis has a volume left: {ours}")
    w.envctl("stop-all", "--headless", "--remove-volumes", "--yes", rc=0, timeout=60)
    equal(containers(engine, "-a"), [stranger], "what is left")
    check("envctl-postgres-Main" in volumes(engine), "a stranger's volume")
    equal([v for v in volumes(engine) if "repo-" in v], [], "ours are gone")


def a_missing_image(w):
    """Is said, and nothing stays."""
    configure(w, postgres=False, ENVCTL_REDIS_IMAGE="registry.invalid/none:1", ENVCTL_REDIS_PROVIDER="docker")
    failed = w.envctl("start", "--headless", "--json", rc=1, timeout=150).error()
    equal((failed["code"], failed["where"]), ("dependency_failed", "Main/redis"), "error")


def log_of_a_container(w, engine, part):
    """What a container says is shown, filtered and followed, also after it was started again. Redis is the one that says it."""
    path, logs = Path(part["log_path"]), ("logs", "--service", "redis")

    def say(text):
        done = engine("exec", part["container_id"], "sh", "-c", f"{{ echo {text}; }} >/proc/1/fd/1")
        equal(done.returncode, 0, done.stderr.decode())

    def said(*args):
        return w.envctl(*logs, "--json", *args, rc=0).json()["services"][0]["tail_lines"]

    contains("\n".join(said()), "Ready to accept connections", "its lines")
    say("a word; echo a number; echo another word")
    wait_for(lambda: "another word" in said(), "a line to come")
    equal(said("--grep", "word$"), ["a word", "another word"], "what matches")
    equal(said("--grep", "word$", "--tail", "1"), ["another word"], "the last that matches")
    equal(said("--tail", "2"), ["a number", "another word"], "the last ones")
    # Whole seconds are kept apart, and a start begins up to two of them before it.
    second = int(time.time()) + 1
    wait_for(lambda: time.time() > second + 2, "another second")
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
    equal(said("--since", since), [], "nothing since then")
    say("news")
    wait_for(lambda: said("--since", since) == ["news"], "what came since then")
    check(not path.exists(), "reading has written nothing")
    out = w.base / "followed.txt"
    with open(out, "wb") as f:
        p = w.spawn(BIN, *logs, "--follow", "--tail", "2", stdout=f, stderr=subprocess.STDOUT)
    wait_for(lambda: "news" in out.read_text(), "what was there")
    say("more")
    wait_for(lambda: "more\n" in out.read_text(), "what comes")
    w.envctl("stop", "--headless", rc=0, timeout=60)
    contains(path.read_text(), "another word", "what it has said stays with its run")
    w.envctl("start", "--headless", rc=0, timeout=150)
    say("and more")
    wait_for(lambda: "and more\n" in out.read_text(), "what comes after it was started again")
    p.send_signal(signal.SIGINT)
    equal(p.wait(timeout=30), 2, "interrupted")
    lines = out.read_text().splitlines()
    equal([n for n in lines if n in ("a number", "another word", "news", "more", "and more")],
          ["another word", "news", "more", "and more"], "each once")
    check("another word" not in said() and "and more" in said(), "a start is a log of its own")


def supabase_images(docker, folder):
    """The database is a real one; see tests/fixtures/supabase_standin.c for the others."""
    images(docker)
    program = folder / "standin"
    subprocess.run(["cc", "-O1", "-o", str(program), str(TOP / "tests/fixtures/supabase_standin.c")], check=True)
    for name in ("gotrue", "kong"):
        image(docker, f"{name}:test", [str(program)], extra=["/etc/nsswitch.conf"], changes=[f'ENTRYPOINT ["{program}"]'])


def redis_image(docker):
    image(docker, "redis:test", ["redis-server", "redis-cli", "sh"], changes=['VOLUME /data', 'WORKDIR /data'])
    tried = docker("run", "--rm", "redis:test", "redis-server", "--version")
    if tried.returncode:
        raise Skipped(f"no containers can run here ({tried.stderr.decode().strip()[-300:]})")


def images(docker):
    redis_image(docker)
    tools = ["sh", "id", "mkdir", "chown", "chmod", "rm", "setpriv"]
    programs = [f"{POSTGRES}/bin/{p}" for p in ("postgres", "initdb", "psql")]
    image(
        docker, "postgres:test", tools + programs,
        extra=[f"{POSTGRES}/lib", "/usr/share/postgresql/15", "/usr/share/zoneinfo/UTC", "/etc/nsswitch.conf",
               "/lib/x86_64-linux-gnu/libnss_files.so.2"],
        files={"entry.sh": POSTGRES_ENTRY},
        changes=['ENTRYPOINT ["/entry.sh"]', "ENV PGDATA=/var/lib/postgresql/data",
                 f"ENV PATH=/bin:/usr/bin:{POSTGRES}/bin"],
    )
