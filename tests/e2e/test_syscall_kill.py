#!/usr/bin/env python3
"""The n-th system call is the last one, n = 1, 2, …: strace ends the keeper (or the client) with SIGKILL at one exact call of a
start or a stop. Afterwards the state is valid, every live service is recorded, and stop-all leaves nothing.

The points are counted in a run without injection. ENVCTL_POINTS says how many of them are tried per test (spread evenly; 0 = all
of them, which takes minutes)."""

import collections
import os
import re
import shutil
import subprocess

from drill import check_after_kill
from lib import BIN, PATIENCE, check, equal, main, test, wait_for

# What changes files or processes, or talks to somebody …
CHANGES = (
    "mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,symlink,symlinkat,link,linkat,ftruncate,fallocate,write,pwrite64,"
    "fsync,fdatasync,flock,clone,clone3,fork,vfork,execve,pidfd_open,pidfd_send_signal,kill,wait4,waitid,accept4,sendto,sendmsg,"
    "exit_group"
).split(",")
# … and what lies between. Most of these are walks over /proc.
OTHERS = "openat,close,socket,bind,listen,connect,pipe2".split(",")
POINTS = int(os.environ.get("ENVCTL_POINTS", "45"))


def known_calls():
    """strace refuses a set with a call that this architecture does not have."""
    known = []
    for call in CHANGES + OTHERS:
        if subprocess.run(["strace", "-e", f"trace={call}", "true"], capture_output=True, check=False).returncode == 0:
            known.append(call)
    return known


def points_of(trace):
    """(call, n) for every traced call, in the order in which they happened."""
    seen, points = collections.Counter(), []
    for line in trace.read_text(encoding="utf-8", errors="replace").splitlines():
        match = re.match(r"(?:\d+ +)?(\w+)\(", line)
        if match:
            seen[match[1]] += 1
            points.append((match[1], seen[match[1]]))
    return points


def evenly(points, count):
    return points if len(points) <= count else [points[i * len(points) // count] for i in range(count)]


def spread(points):
    """The points to try: two thirds of them at calls that change something."""
    if not POINTS:
        return points
    changes = evenly([p for p in points if p[0] in CHANGES], POINTS * 2 // 3)
    return changes + evenly([p for p in points if p[0] in OTHERS], POINTS - len(changes))


def strace(*options):
    return [shutil.which("strace"), "-qq", "-e", "signal=none", *options]


def keeper_command(w):
    """How the client starts a keeper, taken from a real one."""
    w.start()
    argv = w.keepers()[0].argv
    w.stop_all()
    w.gone()
    return [BIN, *argv[1:]]


def run_keeper(w, command, options):
    """A keeper under strace, which is ready when it has said so (or it is dead)."""
    p = w.spawn(*strace(*options), *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=w.scope_dir())
    p.stdout.readline()
    return p


def finish(w, p):
    p.wait(60 * PATIENCE)
    if p.stdout:
        p.stdout.close()
    w.started.remove(p)


def step_through_keeper(w, before, operation):
    """Counts the keeper's calls while `operation` runs, then ends it at one after the other."""
    calls = known_calls()
    command = keeper_command(w)
    trace = w.base / "trace"
    before()
    p = run_keeper(w, command, ["-o", trace, "-e", "trace=" + ",".join(calls)])
    operation()
    points = points_of(trace)
    w.stop_all()
    finish(w, p)
    check(len(points) > 50, f"only {len(points)} calls were seen: is the keeper traced?")
    hit = 0
    for call, n in spread(points):
        what = f"keeper killed at {call} number {n}"
        before()
        p = run_keeper(w, command, ["-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={n}"])
        operation()
        if p.poll() is not None:
            hit += 1
        check_after_kill(w, what)
        finish(w, p)
    check(hit > 0, "no injection ever hit")


@test(timeout=900)
def keeper_in_a_start(w):
    w.services(backend="", frontend="")
    step_through_keeper(w, lambda: None, lambda: w.envctl("start", "--headless"))


@test(timeout=900)
def keeper_in_a_stop(w):
    w.services(backend="", frontend="")

    def before():
        # The services of a start, without its keeper: the traced one adopts them.
        w.start()
        keeper = w.keepers()[0]
        keeper.signal(9)
        wait_for(lambda: not keeper.alive, "the first keeper to end")

    step_through_keeper(w, before, lambda: w.envctl("stop"))


@test(timeout=900)
def client_in_a_start(w):
    w.services(backend="", frontend="")
    calls = known_calls()
    trace = w.base / "trace"
    w.run(*strace("-o", trace, "-e", "trace=" + ",".join(calls)), BIN, "start", "--headless", rc=0)
    w.stop_all()
    points = points_of(trace)
    check(len(points) > 20, f"only {len(points)} calls were seen")
    killed = 0
    for call, n in spread(points):
        what = f"client killed at {call} number {n}"
        options = ["-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={n}"]
        killed += w.run(*strace(*options), BIN, "start", "--headless").rc != 0
        check_after_kill(w, what)
    check(killed > 0, "no injection ever hit")


@test(timeout=300)
def errors_instead_of_kills(w):
    """A call of the keeper fails: the start is refused or done, the old state is intact, nothing is left."""
    w.services(backend="", frontend="")
    command = keeper_command(w)
    tried = 0
    for call, errno in (
        ("fsync", "EIO"), ("renameat", "ENOSPC"), ("rename", "ENOSPC"), ("write", "ENOSPC"), ("openat", "EMFILE"),
        ("clone", "EAGAIN"), ("clone3", "EAGAIN"), ("fork", "EAGAIN"), ("vfork", "EAGAIN"), ("pipe2", "EMFILE"),
        ("socket", "EMFILE"), ("mkdirat", "EACCES"), ("mkdir", "EACCES"), ("flock", "ENOLCK"), ("pidfd_open", "EMFILE"),
    ):
        if subprocess.run(["strace", "-e", f"trace={call}", "true"], capture_output=True, check=False).returncode:
            continue
        for when in ("1+", "2", "5+"):
            what = f"{call} number {when} of the keeper fails with {errno}"
            p = run_keeper(w, command, ["-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error={errno}:when={when}"])
            result = w.envctl("start", "--headless", "--json")
            check(result.rc in (0, 1), f"{what}: {result}")
            document = result.json()
            equal(document["ok"], result.rc == 0, f"{what}: ok")
            if result.rc:
                check(document["error"]["message"], f"{what}: a message")
            # The keeper may be the one that cannot do anything any more: then another one has to take over.
            for keeper in w.keepers():
                keeper.signal(9)
            finish(w, p)
            check_after_kill(w, what)
            tried += 1
    check(tried > 10, "hardly anything was tried")


if __name__ == "__main__":
    main()
