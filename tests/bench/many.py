#!/usr/bin/env python3
"""Many services under one keeper: what it costs while nothing happens, and what showing and stopping them takes. Only prints.

    tests/bench/many.py [services] [seconds of idling]
"""

import json
import os
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
LISTENERS = 20  # so many of them listen; the others only run


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Bench:
    def __init__(self, top, count):
        self.repo = top / "repo"
        self.repo.mkdir()
        (self.repo / ".envctl").write_text("MAIN_BACKEND_ENABLE=false\nMAIN_FRONTEND_ENABLE=false\n", encoding="utf-8")
        service = f"{sys.executable} -S -E {TOP}/tests/fixtures/svc.py --port ${{port}}"
        entries = [f'web{n} = {{ command = "{service}", port = {port} }}' for n, port in enumerate(free_ports(LISTENERS))]
        entries += [f'worker{n} = {{ listens = false, command = "sleep 86400" }}' for n in range(count - LISTENERS)]
        text = "return {\n  envctl = 1,\n  services = {\n    " + ",\n    ".join(entries) + ",\n  },\n}\n"
        (self.repo / ".envctl.lua").write_text(text, encoding="utf-8")
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(top), "RUN_SH_RUNTIME_DIR": str(top / "runtime"),
            "XDG_STATE_HOME": str(top / "state"), "ENVCTL_DATA_DIR": str(top / "data"),
        }
        subprocess.run(["git", "init", "-q", self.repo], env=self.env, check=True)

    def envctl(self, *args):
        """Milliseconds, and what it printed."""
        began = time.perf_counter()
        done = subprocess.run([ENVCTL, *args], cwd=self.repo, env=self.env, capture_output=True, text=True, check=False)
        took = (time.perf_counter() - began) * 1000
        if done.returncode:
            sys.exit(f"envctl {args}: {done.stdout}{done.stderr}")
        return took, done.stdout


def cpu_ms(pid):
    """Processor time that a process has used so far, to the microsecond of the scheduler."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e6


def memory_mb(pid, key):
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def measure(bench, count, seconds):
    bench.envctl("script", "trust")
    print(f"start --headless of {count:4}  {bench.envctl('start', '--headless')[0]:8.0f} ms")
    state = json.loads(bench.envctl("show-state", "--json")[1])["state"]
    keeper = state["keeper"]["pid"]
    live = sum(s["live"] is True for s in state["services"].values())
    print(f"live                     {live:8}")
    before = cpu_ms(keeper)
    time.sleep(seconds)
    used = cpu_ms(keeper) - before
    print(f"keeper, idle             {used / seconds / 10:8.3f} % of a core ({used:.1f} ms in {seconds} s)")
    print(f"keeper, RSS              {memory_mb(keeper, 'VmRSS'):8.1f} MB (most: {memory_mb(keeper, 'VmHWM'):.1f} MB)")
    for command in (["show-state"], ["show-state", "--json"], ["health"]):
        before = os.times()
        times = [bench.envctl(*command)[0] for _ in range(20)]
        after = os.times()
        cpu = (after.children_user + after.children_system - before.children_user - before.children_system) * 50
        print(f"{' '.join(command):24} {statistics.median(times):8.1f} ms (best {min(times):.1f} ms, processor {cpu:.1f} ms)")
    print(f"stop-all                 {bench.envctl('stop-all')[0]:8.0f} ms")


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    top = Path(tempfile.mkdtemp(prefix="bench-many-"))
    bench = Bench(top, count)
    try:
        measure(bench, count, seconds)
    finally:
        subprocess.run([ENVCTL, "stop-all"], cwd=bench.repo, env=bench.env, capture_output=True, check=False)
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    main()
