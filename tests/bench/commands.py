#!/usr/bin/env python3
"""What every inspection command costs in a repository with 20 worktrees, 10 running services and a script of 300 lines: processor
time (its own and its children's, which a busy machine does not change much) and wall time. Only prints.

    tests/bench/commands.py [rounds]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from many import TOP, free_ports
from trees import ENVCTL, Bench

WORKTREES, LINES, LIMIT_MS = 20, 300, 10
# Where the bare command says little or nothing.
FORMS = {
    "explain-startup": ["", "--trees", "start --trees --all", "plan web/p1", "resume", "restart"],
    "list-targets": ["", "--trees"], "doctor": ["", "--repo ."], "logs": ["--all --headless --logs-tail 20"], "health": ["--all"],
    "wait": ["--all"],
}


def script():
    service = f"{sys.executable} -S -E {TOP}/tests/fixtures/svc.py --port ${{port}}"
    tail = ["return {", "  envctl = 1,", "  services = {"]
    tail += [f'    web{n} = {{ command = "{service}", port = {port} }},' for n, port in enumerate(free_ports(4))]
    tail += [f'    worker{n} = {{ command = "sleep 86400", listens = false }},' for n in range(6)]
    tail += [f'    more{n} = {{ command = "sleep 1", listens = false, enable_if = "more/{n}" }},' for n in range(30)]
    tail += ["  },", '  override = { ["plan.ports"] = function(base, ctx) return base(ctx) end },', "}"]
    lines = ["local names = {}"]
    while len(lines) + len(tail) < LINES:
        lines.append(f"names.key_{len(lines)} = function(ctx) return ctx.port and ctx.port + {len(lines)} or \"none\" end")
    return "\n".join(lines + tail) + "\n"


def prepare(top):
    b = Bench(top, "commands")
    b.write(".envctl", "MAIN_BACKEND_ENABLE=false\nMAIN_FRONTEND_ENABLE=false\n")
    b.write(".envctl.lua", script())
    b.write("backend/README", "a service\n")
    for n in range(WORKTREES):
        b.write(f"todo/plans/web/p{n}.md", f"# {n}\n")
    b.commit()
    for n in range(WORKTREES):
        b.git("worktree", "add", "-q", "-b", f"web_p{n}-1", f"trees/web_p{n}/1")
    b.run(ENVCTL, "script", "trust")
    b.run(ENVCTL, "start", "--headless")
    return b


def once(bench, words):
    """Milliseconds of processor and wall time."""
    with open(os.devnull, "r+b") as null:
        began = time.perf_counter()
        with subprocess.Popen([ENVCTL, *words], cwd=bench.repo, env=bench.env, stdin=null, stdout=null, stderr=null) as process:
            _, _, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
            process.returncode = 0
    return (usage.ru_utime + usage.ru_stime) * 1000, wall * 1000


def commands(bench):
    details = json.loads(bench.run(ENVCTL, "list-commands", "--json"))["details"]
    for name in (d["name"] for d in details if d["class"] == "inspection"):
        for form in FORMS.get(name, [""]):
            as_json = [] if name in {"help", "version", "logs"} else ["--json"]
            yield [name, *form.split(), *as_json]


def measure(bench, rounds):
    rows = {}
    words = list(commands(bench))
    for _ in range(rounds):
        for w in words:
            rows.setdefault(" ".join(w), []).append(once(bench, w))
    print(f"{'':46} processor: median      best   wall: median      best")
    for name, times in sorted(rows.items(), key=lambda row: -statistics.median(c for c, _ in row[1])):
        cpu, wall = [c for c, _ in times], [w for _, w in times]
        mark = f"  over {LIMIT_MS} ms" if min(cpu) > LIMIT_MS else ""
        print(f"{name:46} {statistics.median(cpu):14.1f} ms {min(cpu):6.1f} ms {statistics.median(wall):11.1f} ms {min(wall):6.1f} ms{mark}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bench-commands-") as folder:
        bench = prepare(Path(folder))
        try:
            measure(bench, int(sys.argv[1]) if len(sys.argv) > 1 else 15)
        finally:
            subprocess.run([ENVCTL, "stop-all"], cwd=bench.repo, env=bench.env, capture_output=True, check=False)
