#!/usr/bin/env python3
"""SIGKILL in the middle of making and removing worktrees: git stays sound, the next run completes or cleans up, nothing is lost.

ENVCTL_ROUNDS sets how often; the short form fits into every run."""

import json
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from lib import BIN, SEED, Proc, all_pids, at_once, check, equal, main, rounds, test, wait_for


def prepare(w, files=300):
    for n in range(files):
        (w.repo / f"src/{n % 10}").mkdir(parents=True, exist_ok=True)
        (w.repo / f"src/{n % 10}/{n}.txt").write_text(f"{n}\n" * 20)
    w.write("todo/plans/web/x.md", "# X\n")
    w.write(".gitignore", ".env\n.envctl\n")
    w.write(".worktreeinclude", ".env\n")
    w.write(".env", "A=1\n")
    w.write(".envctl", "TREES_STARTUP_ENABLE=false\nMAIN_STARTUP_ENABLE=false\n")
    w.commit()


def children_of(pid):
    return [p for p in map(Proc, all_pids()) if p.ppid == pid]


def kill_at(w, rng, args, longest):
    """Runs envctl and kills it after a random while: alone, or together with the git that it runs."""
    p = w.spawn(BIN, *args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began, after, with_git = time.monotonic(), rng.uniform(0, longest), rng.random() < 0.5
    try:
        p.wait(after)
    except subprocess.TimeoutExpired:
        kids = children_of(p.pid) if with_git else []
        p.kill()
        for kid in kids:
            kid.signal(signal.SIGKILL)
    p.wait()
    w.started.remove(p)
    return time.monotonic() - began


def as_told(w, *args):
    """The next run after a kill. What the killed one has asked the keeper for may still be at work. A git that was killed leaves its
    lock, which is git's: the message says which, and what to do."""
    result = wait_for(lambda: "busy: " not in (r := w.envctl(*args)).err and r, "the work of the killed one to end")
    for lock in re.findall(r"remove (\S+\.lock) yourself", result.err):
        Path(lock).unlink()
        result = w.envctl(*args)
    return result


def sound(w, what):
    r = subprocess.run(["git", "-C", str(w.repo), "fsck", "--full"], env=w.env, capture_output=True, text=True)
    check(r.returncode == 0 and "error" not in r.stderr, f"{what}: git fsck: {r.stdout}{r.stderr}")
    listed = w.git("worktree", "list", "--porcelain")
    check("prunable" not in listed, f"{what}: ghosts in\n{listed}")
    paths = [line.split(" ", 1)[1] for line in listed.splitlines() if line.startswith("worktree ")]
    for path in paths:
        w.git("-C", path, "status", "--porcelain")
    journal = w.repo / ".git/envctl/journal"
    equal(list(journal.iterdir()) if journal.exists() else [], [], f"{what}: journal")
    for kind in ("*.lock",):
        left = [p for p in (w.repo / ".git/worktrees").glob(f"*/{kind}")]
        equal(left, [], f"{what}: locks in trees")
    return paths


@test(timeout=rounds(12) * 10 + 60)
def killed_while_making(w):
    prepare(w)
    rng = random.Random(SEED)
    longest = 0.5
    for n in range(rounds(12)):
        what = f"seed {SEED} round {n}"
        kill_at(w, rng, ["--headless", "--plan", "x"], longest)
        again = as_told(w, "--headless", "--plan", "x")
        equal(again.rc, 0, f"{what}: {again}")
        paths = sound(w, what)
        equal(len(paths), 2, f"{what}: one worktree in {paths}")
        tree = paths[1]
        equal(w.git("-C", tree, "status", "--porcelain", "--untracked-files=all"), "", what)
        check((w.repo / tree / "MAIN_TASK.md").exists() and (w.repo / tree / ".env").exists(), f"{what}: seeded")
        w.envctl("delete-worktree", tree.rsplit("/", 2)[1] + "-" + tree.rsplit("/", 1)[1], "--headless", rc=0)
        equal(w.git("branch", "--list", "web_x-*"), "", f"{what}: branches")


@test
def a_making_killed_in_the_checkout_is_cleaned_up(w):
    """git is in the middle of the files when it dies together with envctl: a locked tree with half of them is left."""
    prepare(w, 5)
    began, go_on = w.base / "began", w.base / "go-on"
    w.git("config", "filter.slow.smudge", f"touch {began}; while [ ! -e {go_on} ]; do sleep 0.02; done; cat")
    w.write(".gitattributes", "src/2/* filter=slow\n")
    w.commit()
    p = w.spawn(BIN, "--headless", "--plan", "x")
    wait_for(began.exists, "git to be at the files")
    gits = children_of(p.pid)
    p.kill()
    p.wait()
    for git in gits:
        git.signal(signal.SIGKILL)
    tree = w.repo / "trees/web_x/1"
    check(tree.exists() and not (tree / "src/4").exists(), "half of the files are there")
    go_on.touch()
    w.envctl("--headless", "--plan", "x", rc=0)
    equal(len(sound(w, "afterwards")), 2, "one worktree")
    equal(w.git("-C", str(tree), "status", "--porcelain", "--untracked-files=all"), "", "nothing is missing")
    check((tree / "src/4/4.txt").exists() and (tree / "MAIN_TASK.md").exists(), "complete and seeded")


@test(timeout=rounds(12) * 10 + 60)
def killed_while_removing(w):
    prepare(w)
    rng = random.Random(SEED + 1)
    for n in range(rounds(12)):
        what = f"seed {SEED + 1} round {n}"
        w.envctl("--headless", "--plan", "x", rc=0)
        tree = w.repo / "trees/web_x/1"
        (tree / "mine").write_text(what)
        (tree / "src/1/1.txt").write_text("staged " + what)
        w.git("-C", str(tree), "add", "src")
        kill_at(w, rng, ["delete-worktree", "web_x-1", "--force", "--headless"], 0.4)
        if tree.exists():
            gone = as_told(w, "delete-worktree", "web_x-1", "--force", "--headless")
            equal(gone.rc, 0, f"{what}: {gone}")
        # Any command that makes or removes settles what was left; this one brings it back at the same time.
        w.git("reflog", "expire", "--expire=now", "--all")
        again = as_told(w, "recover", "web_x-1")
        equal(again.rc, 0, f"{what}: {again}")
        w.git("gc", "-q", "--prune=now")
        sound(w, what)
        equal((tree / "mine").read_text(), what, "content")
        equal(w.git("-C", str(tree), "status", "--porcelain"), "M  src/1/1.txt\n?? mine\n", what)
        # And restoring may be killed as well.
        w.envctl("delete-worktree", "web_x-1", "--force", "--headless", rc=0)
        kill_at(w, rng, ["recover", "web_x-1"], 0.2)
        again = as_told(w, "recover", "web_x-1")
        check(tree.exists(), f"{what}: {again}\n{w.envctl('recover').out}")
        sound(w, what)
        equal(w.git("-C", str(tree), "status", "--porcelain"), "M  src/1/1.txt\n?? mine\n", f"{what}: restored")
        equal(w.envctl("recover", "--json").json()["items"], [], f"{what}: trash")
        w.git("-C", str(tree), "reset", "-q", "--hard")
        (tree / "mine").unlink()
        w.envctl("delete-worktree", "web_x-1", "--headless", rc=0)
        for item in w.envctl("recover", "--json").json()["items"]:
            subprocess.run(["rm", "-r", str(w.repo / ".git/envctl-trash" / item["id"])], check=True)
            w.git("update-ref", "-d", item["ref"])


def kill_in_git(w, args, doing, before=":", after=":"):
    """Kills envctl while the git that it runs with `doing` among its arguments is at work, which goes on."""
    slow, began = w.base / "bin/git", w.base / "began"
    slow.parent.mkdir()
    slow.write_text(f"""#!/bin/sh
case "$*" in *"{doing}"*) {before}; touch {began}; sleep 1; {after} ;; esac
exec {shutil.which("git")} "$@"
""")
    slow.chmod(0o755)
    p = w.spawn(BIN, *args, env={**w.env, "PATH": f"{slow.parent}:{w.env['PATH']}"})
    wait_for(began.exists, "git to be at work")
    p.kill()
    p.wait()


@test
def a_removal_killed_before_the_move_is_taken_back(w):
    """Its record names a tree that never left; whoever removes next clears that away, or the trash would list it for ever."""
    prepare(w, 5)
    w.envctl("--headless", "--plan", "x", rc=0)
    tree = w.repo / "trees/web_x/1"
    (tree / "mine").write_text("mine")
    kill_in_git(w, ["delete-worktree", "web_x-1", "--force", "--headless"], " -m envctl: trash ")
    equal((tree / "mine").read_text(), "mine", "content")
    states = lambda: [json.loads(f.read_text())["state"] for f in (w.repo / ".git/envctl-trash").glob("*/record.json")]
    equal(states(), ["moving"], "the record of the killed one")
    w.envctl("delete-worktree", "web_x-1", "--force", "--headless", rc=0)
    equal(states(), ["trashed"], "one removal, one record")
    w.envctl("recover", "web_x-1", rc=0)
    equal((tree / "mine").read_text(), "mine", "content")
    sound(w, "afterwards")
    equal(w.git("for-each-ref", "refs/envctl/trash"), "", "pins")


@test
def the_git_of_a_killed_recover_is_waited_for(w):
    """It makes the branch again, and the next recover must not meet it halfway."""
    prepare(w, 5)
    w.envctl("--headless", "--plan", "x", rc=0)
    tree = w.repo / "trees/web_x/1"
    (tree / "mine").write_text("mine")
    w.envctl("delete-worktree", "web_x-1", "--force", "--headless", rc=0)
    equal(w.git("branch", "--list", "web_x-1"), "", "the branch went with it")
    lock = w.repo / ".git/refs/heads/web_x-1.lock"
    kill_in_git(w, ["recover", "web_x-1"], " update-ref refs/heads/", f"touch {lock}", f"rm {lock}")
    w.envctl("recover", "web_x-1", rc=0)
    equal((tree / "mine").read_text(), "mine", "content")
    equal(w.git("-C", str(tree), "symbolic-ref", "--short", "HEAD").strip(), "web_x-1", "on its branch")
    sound(w, "afterwards")


@test
def the_second_waits_for_the_first(w):
    """Both want the next worktree of one feature; the first is in the middle of its git when the second comes."""
    prepare(w, 5)
    slow, began, go = w.base / "bin/git", w.base / "began", w.base / "go"
    slow.parent.mkdir()
    slow.write_text(f"""#!/bin/sh
case "$*" in *" worktree add "*) touch {began}; until test -e {go}; do sleep 0.01; done ;; esac
exec {shutil.which("git")} "$@"
""")
    slow.chmod(0o755)

    def begin(name, env):
        with open(w.base / f"{name}.out", "w") as out, open(w.base / f"{name}.err", "w") as told:
            return w.spawn(BIN, "start", "--headless", "--setup-worktrees", "f", "1", "--json", env=env, stdout=out, stderr=told)

    def text(name):
        return (w.base / name).read_text(encoding="utf-8")

    first = begin("first", {**w.env, "PATH": f"{slow.parent}:{w.env['PATH']}"})
    wait_for(began.exists, "the first one's git to be at work")
    second = begin("second", w.env)
    wait_for(lambda: second.poll() is not None or "waiting for another envctl" in text("second.err"), "the second one to wait")
    check(second.poll() is None, lambda: f"it did not wait: {text('second.out')} {text('second.err')}")
    go.touch()
    made = []
    for name, p in (("first", first), ("second", second)):
        equal(p.wait(60), 0, f"exit code of the {name}")
        made += [c["project"] for c in json.loads(text(f"{name}.out"))["created"]]
    equal(made, ["f-1", "f-2"], "worktrees, in turn")
    equal(len(sound(w, "both")), 3, "worktrees of git")


@test(timeout=300)
def many_at_once(w):
    """Several envctl that make worktrees of one repository at the same time: each gets its own."""
    prepare(w, 50)
    count = 8

    def one(n):
        return w.envctl("start", "--headless", "--setup-worktrees", f"f{n % 2}", "1", "--json", timeout=120)

    results = at_once([lambda n=n: one(n) for n in range(count)])
    for r in results:
        equal(r.rc, 0, str(r))
    made = [c["project"] for r in results for c in r.json()["created"]]
    equal((len(made), len(set(made))), (count, count), f"{made}")
    equal(len(sound(w, "many")), count + 1, "worktrees")
    wait_for(lambda: not w.processes(), "nothing to be left")


main()
