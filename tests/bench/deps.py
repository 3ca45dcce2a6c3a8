#!/usr/bin/env python3
"""What a Postgres of envctl costs beside one by hand, and the ways to a first data directory: initdb, a copy of a prepared one, a
database cloned from a template. Interleaved rounds, medians and ratios; only prints.

    tests/bench/deps.py [rounds]
"""

import os
import pwd
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
ENVCTL = os.environ.get("ENVCTL_BIN") or str(TOP / "build/release/envctl")
PG = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
AS = pwd.getpwnam("postgres") if os.geteuid() == 0 else None


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def run(*argv, as_server=True, env=None):
    prefix = ["setpriv", f"--reuid={AS.pw_uid}", f"--regid={AS.pw_gid}", "--init-groups"] if AS and as_server else []
    done = subprocess.run([*prefix, *map(str, argv)], capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"{argv}: {done.stdout}{done.stderr}")
    return done.stdout


class Bench:
    def __init__(self, top):
        self.top, self.rows = top, {}
        top.chmod(0o711)
        self.servers = top / "servers"
        self.servers.mkdir()
        if AS:
            os.chown(self.servers, AS.pw_uid, AS.pw_gid)
        self.repo = top / "repo"
        (self.repo / "backend").mkdir(parents=True)
        (self.repo / "backend/README").write_text("nothing runs here\n")
        self.port = free_port()
        (self.repo / ".envctl").write_text(f"MAIN_BACKEND_ENABLE=false\nMAIN_FRONTEND_ENABLE=false\nMAIN_POSTGRES_ENABLE=true\n"
                                           f"ENVCTL_POSTGRES_PROVIDER=native\nDB_PORT={self.port}\n")
        run("git", "init", "-q", self.repo, as_server=False)
        self.env = {
            "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "HOME": str(top), "RUN_SH_RUNTIME_DIR": str(top / "runtime"),
            "ENVCTL_DATA_DIR": str(top / "data"), "XDG_STATE_HOME": str(top / "state"),
        }

    def measure(self, name, fn):
        began = time.perf_counter()
        fn()
        self.rows.setdefault(name, []).append((time.perf_counter() - began) * 1000)

    def envctl(self, *args):
        done = subprocess.run([ENVCTL, *args], cwd=self.repo, env=self.env, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"envctl {args}: {done.stdout}{done.stderr}")
        return done.stdout

    def initdb(self, to):
        run(PG / "initdb", "-D", to, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")

    def by_hand(self, data, port):
        run(PG / "pg_ctl", "-D", data, "-w", "-l", self.servers / "log", "-o", f"-p {port} -k {self.servers}", "start")
        run(PG / "psql", "-h", self.servers, "-p", port, "-U", "postgres", "-tAc", "select 1")

    def end(self, data):
        run(PG / "pg_ctl", "-D", data, "-m", "fast", "-w", "stop")

    def rounds(self, count):
        kept = self.servers / "kept"
        self.initdb(kept)
        self.envctl("start", "--headless")  # the prepared directory, and the first data
        self.envctl("stop-all")
        for n in range(count):
            fresh, copy, port = self.servers / f"fresh{n}", self.servers / f"copy{n}", free_port()
            self.measure("initdb", lambda: self.initdb(fresh))
            self.measure("a copy of a prepared directory", lambda: run("cp", "-a", "--reflink=auto", kept, copy))
            self.measure("by hand: pg_ctl start, psql", lambda: self.by_hand(kept, port))
            self.measure("a database from a template", lambda: run(
                PG / "createdb", "-h", self.servers, "-p", port, "-U", "postgres", f"clone{n}"))
            self.end(kept)
            shutil.rmtree(fresh)
            shutil.rmtree(copy)
            self.measure("envctl start, data is there", lambda: self.envctl("start", "--headless"))
            self.envctl("stop-all")
            self.envctl("data", "reset", "--project", "Main", "--yes")
            self.measure("envctl start, new data", lambda: self.envctl("start", "--headless"))
            self.envctl("stop-all")

    def table(self):
        first = statistics.median(self.rows["by hand: pg_ctl start, psql"])
        for name, values in self.rows.items():
            median = statistics.median(values)
            print(f"{name:32} {median:8.1f} ms {min(values):8.1f} ms   {median / first:.2f}x of by hand")


def main():
    top = Path(tempfile.mkdtemp(prefix="bench-deps-"))
    bench = Bench(top)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    try:
        print(f"{count} interleaved rounds, {os.cpu_count()} cores: median and best")
        bench.rounds(count)
        bench.table()
    finally:
        subprocess.run([ENVCTL, "stop-all"], cwd=bench.repo, env=bench.env, capture_output=True)
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    main()
