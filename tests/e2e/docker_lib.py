"""A docker daemon of the test's own, with private directories, and small images made from the programs of this machine."""

import contextlib
import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from lib import Failed, wait_for

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
            info = tarfile.TarInfo(path)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(info)
    args = [a for c in changes for a in ("--change", c)]
    done = docker("import", *args, "-", name, input=data.getvalue())
    if done.returncode:
        raise Failed(f"docker import: {done.stderr.decode()}")


@contextlib.contextmanager
def daemon(w):
    """dockerd with everything below one directory; w's environment points to it."""
    dockerd = shutil.which("dockerd") or "/usr/sbin/dockerd"
    if os.geteuid() != 0 or not os.path.exists(dockerd):
        yield None
        return
    top = Path(tempfile.mkdtemp(prefix="e2e-dockerd-"))
    sock = f"unix://{top}/d.sock"
    env = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "DOCKER_HOST": sock}
    log = open(top / "log", "wb")
    process = subprocess.Popen(
        [dockerd, "--data-root", f"{top}/data", "--exec-root", f"{top}/exec", "-H", sock, "-p", f"{top}/pid",
         "--iptables=false", "--ip6tables=false", "--storage-driver=vfs", "--bip=10.213.77.1/24"],
        env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
    )

    def docker(*args, input=None, timeout=120):
        return subprocess.run(["docker", *args], env=env, input=input, capture_output=True, timeout=timeout)

    docker.process, docker.sock, docker.top = process, sock, top
    try:
        def up():
            if process.poll() is not None:
                raise Failed("dockerd ended: " + (top / "log").read_text()[-1500:])
            return docker("version").returncode == 0

        wait_for(up, "dockerd", timeout=60)
        w.env["DOCKER_HOST"] = sock
        yield docker
    finally:
        if process.poll() is None:
            ids = docker("ps", "-aq").stdout.decode().split()
            if ids:
                docker("rm", "-f", *ids)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
        subprocess.run(["ip", "link", "del", "docker0"], capture_output=True)
        time.sleep(0.2)
        subprocess.run(f"umount $(grep -o '{top}[^ ]*' /proc/mounts | sort -r) 2>/dev/null", shell=True)
        shutil.rmtree(top, ignore_errors=True)


def images(docker):
    image(docker, "redis:test", ["redis-server", "redis-cli", "sh"], changes=['VOLUME /data', 'WORKDIR /data'])
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
