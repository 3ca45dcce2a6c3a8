#!/usr/bin/env python3
"""What envctl costs beside git where there are many files or many worktrees: making a worktree of 10,000 files, and looking at 100
worktrees. Interleaved rounds, medians and ratios; only prints.

    tests/bench/trees.py [rounds]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENVCTL = os.environ.get("ENVCTL_BIN") or str(Path(__file__).resolve().parents[2] / "build/release/envctl")
WHO = ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "init.defaultBranch=main"]


class Bench:
    def __init__(self, top, name):
        self.repo, self.rows = top / name, {}
        self.repo.mkdir()
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(top), "RUN_SH_RUNTIME_DIR": str(top / "runtime"),
            "XDG_STATE_HOME": str(top / "state"), "XDG_CONFIG_HOME": str(top / "config"),
        }
        self.git("init", "-q")
        self.write(".envctl", "MAIN_STARTUP_ENABLE=false\nTREES_STARTUP_ENABLE=false\n")
        self.write(".gitignore", ".envctl\ntrees/\n")

    def write(self, path, text):
        (self.repo / path).parent.mkdir(parents=True, exist_ok=True)
        (self.repo / path).write_text(text)

    def run(self, *argv):
        done = subprocess.run(argv, cwd=self.repo, env=self.env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            sys.exit(f"{argv}: {done.stdout}{done.stderr}")
        return done.stdout

    def git(self, *args):
        return self.run("git", *WHO, *args)

    def commit(self):
        self.git("add", "--all")
        self.git("commit", "-q", "-m", "bench")

    def measure(self, name, *argv):
        began = time.perf_counter()
        out = self.run(*argv)
        self.rows.setdefault(name, []).append((time.perf_counter() - began) * 1000)
        return out

    def table(self, title):
        print(title)
        first = next(iter(self.rows))
        base = statistics.median(self.rows[first])
        for name, times in self.rows.items():
            median = statistics.median(times)
            print(f"  {name:44} {median:8.1f} ms {min(times):8.1f} ms   {median / base:5.2f}x")


def making(top, rounds):
    b = Bench(top, "making")
    for n in range(10000):
        b.write(f"src/{n % 100}/{n}.txt", f"{n}\n" * 40)
    b.write("todo/plans/web/x.md", "# X\n")
    b.commit()
    for n in range(rounds):
        b.measure("git worktree add", "git", "worktree", "add", "-q", "-b", f"by-hand-{n}", "trees/by-hand/1")
        b.measure("git worktree remove", "git", "worktree", "remove", "trees/by-hand/1")
        made = json.loads(b.measure("envctl --plan", ENVCTL, "--headless", "--plan", "x", "--json"))["created"]
        b.measure("envctl delete-worktree", ENVCTL, "delete-worktree", made[0]["project"], "--headless")
    b.table(f"a worktree of 10,000 files, {rounds} rounds: median, best, of `git worktree add`")


def looking(top, rounds):
    b = Bench(top, "looking")
    b.write("backend/README", "a service\n")
    b.write(".envctl", "ENVCTL_BACKEND_START_CMD=sleep 1\nTREES_FRONTEND_ENABLE=false\n")
    b.commit()
    for n in range(100):
        b.git("worktree", "add", "-q", "-b", f"web_x-{n}", f"trees/web_x/{n}")
    for _ in range(rounds):
        b.measure("git worktree list", "git", "worktree", "list", "--porcelain")
        b.measure("git status", "git", "status", "--porcelain")
        b.measure("envctl list-trees --json", ENVCTL, "list-trees", "--json")
        b.measure("envctl explain-startup --trees --json", ENVCTL, "explain-startup", "--trees", "--json")
        b.measure("envctl explain-startup --trees --all --json", ENVCTL, "explain-startup", "start", "--trees", "--all", "--json")
    b.table(f"100 worktrees, {rounds} rounds: median, best, of `git worktree list`")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory(prefix="bench-trees-") as folder:
        making(Path(folder), max(count // 3, 1))
        looking(Path(folder), count)
