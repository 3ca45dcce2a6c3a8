#!/usr/bin/env python3
"""Nothing that somebody wrote in a worktree is lost: every state in which `git worktree remove` destroys data, and more of them."""

import hashlib
import json
import os
import random
import stat
import subprocess

from lib import SEED, check, contains, equal, main, rounds, test

WHO = ["-c", "user.name=e2e", "-c", "user.email=e2e@localhost", "-c", "protocol.file.allow=always"]


def git(w, where, *args, ok=True):
    r = subprocess.run(["git", "-C", str(where), *WHO, *args], env=w.env, capture_output=True, text=True,
                       errors="surrogateescape")
    check(not ok or r.returncode == 0, f"git {args}: {r.stderr}")
    return r.stdout


def tree_hash(root):
    """Of every byte, name, mode and link below a directory."""
    h = hashlib.sha256()
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted(names + files):
            path = os.path.join(directory, name)
            s = os.lstat(path)
            h.update(f"{os.path.relpath(path, root)}\0{s.st_mode}\0".encode(errors="surrogateescape"))
            if stat.S_ISLNK(s.st_mode):
                h.update(os.readlink(path).encode())
            elif stat.S_ISREG(s.st_mode):
                with open(path, "rb") as f:
                    h.update(hashlib.sha256(f.read()).digest())
    return h.hexdigest()


def prepare(w):
    w.write("a.txt", "one\ntwo\nthree\n")
    w.write("b.txt", "bee\n")
    w.write(".gitignore", ".env\ndata/\nnode_modules/\ncache/\n.envctl\ntrees/\n")
    w.write("todo/plans/web/x.md", "# X\n")
    w.write(".envctl", "TREES_STARTUP_ENABLE=false\nMAIN_STARTUP_ENABLE=false\n")
    w.commit()


def make(w):
    w.envctl("--headless", "--plan", "x", rc=0)
    return w.repo / "trees/web_x/1"


def admin(t):
    return (t / ".git").read_text(encoding="utf-8").split(": ", 1)[1].strip()


def clean(w, t):
    (t / "node_modules/left-pad").mkdir(parents=True)
    (t / "node_modules/left-pad/index.js").write_text("x")
    ignoring_itself(t / "app/.venv", "# Created by venv\n*\n")


def ignoring_itself(directory, text):
    (directory / "bin").mkdir(parents=True)
    (directory / ".gitignore").write_text(text)
    (directory / "bin/file").write_text("x")


def ignored_notes(w, t):
    ignoring_itself(t / "notes", "*\n")


def ignored_with_exception(w, t):
    """Somebody has a say in it, so not everything in it comes from a tool."""
    ignoring_itself(t / "venv", "*\n!mine\n")


def modified(w, t):
    (t / "a.txt").write_text("mine\n")


def staged(w, t):
    (t / "a.txt").write_text("mine\n")
    git(w, t, "add", "a.txt")
    git(w, t, "update-index", "--chmod=+x", "b.txt")


def staged_only(w, t):
    """Content that only the index has."""
    (t / "a.txt").write_text("only staged\n")
    git(w, t, "add", "a.txt")
    (t / "a.txt").write_text("one\ntwo\nthree\n")


def untracked(w, t):
    (t / "new dir").mkdir()
    (t / "new dir/ünï \n code").write_text("mine\n")


def ignored_file(w, t):
    (t / ".env").write_text("SECRET=1\n")


def ignored_data(w, t):
    (t / "data/deep").mkdir(parents=True)
    (t / "data/deep/db.sqlite").write_bytes(b"\0\1\2")


def conflict(w, t):
    git(w, t, "checkout", "-q", "-b", "other")
    (t / "a.txt").write_text("theirs\n")
    git(w, t, "commit", "-qam", "theirs")
    git(w, t, "checkout", "-q", "web_x-1")
    (t / "a.txt").write_text("ours\n")
    git(w, t, "commit", "-qam", "ours")
    git(w, t, "merge", "other", ok=False)


def committed(w, t):
    (t / "a.txt").write_text("work\n")
    git(w, t, "commit", "-qam", "work")


def detached(w, t):
    git(w, t, "checkout", "-q", "--detach")
    (t / "a.txt").write_text("work\n")
    git(w, t, "commit", "-qam", "work")
    (t / "a.txt").write_text("more\n")
    git(w, t, "commit", "-qam", "more")


def skip_worktree(w, t):
    git(w, t, "update-index", "--skip-worktree", "a.txt")
    (t / "a.txt").write_text("hidden\n")


def assume_unchanged(w, t):
    git(w, t, "update-index", "--assume-unchanged", "a.txt")
    (t / "a.txt").write_text("hidden\n")


def nested_repository(w, t):
    git(w, t, "init", "-q", "inner")
    (t / "inner/f").write_text("x")
    git(w, t / "inner", "add", "f")
    git(w, t / "inner", "commit", "-qm", "inner")


def nested_in_ignored(w, t):
    (t / "node_modules").mkdir()
    git(w, t, "init", "-q", "node_modules/lib")


def bare_in_ignored(w, t):
    (t / "cache").mkdir()
    git(w, t, "init", "-q", "--bare", "cache/mirror")


def untracked_unseen(w, t):
    git(w, t, "config", "status.showUntrackedFiles", "no")
    (t / "new").write_text("mine\n")


def locked(w, t):
    git(w, w.repo, "worktree", "lock", "--reason", "on a stick", str(t))


def same_size(w, t):
    s = (t / "a.txt").stat()
    (t / "a.txt").write_text("ONE\ntwo\nthree\n")
    os.utime(t / "a.txt", ns=(s.st_atime_ns, s.st_mtime_ns))


def gitlink(w, t):
    nested_repository(w, t)
    git(w, t, "add", "inner")
    git(w, t, "commit", "-qm", "link")


def index_lock(w, t):
    with open(admin(t) + "/index.lock", "w", encoding="utf-8"):
        pass


def rebase(w, t):
    conflict(w, t)
    git(w, t, "merge", "--abort")
    git(w, t, "rebase", "other", ok=False)
    (t / "a.txt").write_text("half resolved\n")


def cherry_pick(w, t):
    conflict(w, t)
    git(w, t, "merge", "--abort")
    git(w, t, "cherry-pick", "other", ok=False)


def submodule(w, t):
    source = w.base / "sub"
    git(w, w.base, "init", "-q", str(source))
    (source / "f").write_text("x")
    git(w, source, "add", "f")
    git(w, source, "commit", "-qm", "sub")
    git(w, t, "submodule", "add", "-q", str(source), "sub")
    git(w, t, "commit", "-qm", "sub")
    (t / "sub/f").write_text("local\n")


def process_inside(w, t):
    w.decoys.append(w.spawn("sleep", "60", cwd=t))
    w.started.remove(w.decoys[-1])


# state -> the reason that has to be named; None: nothing is lost, so it may go
STATES = {
    clean: None, committed: None, process_inside: None, modified: "modified", staged: "staged", staged_only: "staged",
    untracked: "untracked", ignored_file: "ignored", ignored_data: "ignored", ignored_notes: "ignored",
    ignored_with_exception: "ignored", conflict: "conflicted",
    detached: "unreachable", skip_worktree: "skip_worktree", assume_unchanged: "assume_unchanged",
    nested_repository: "nested_repository", nested_in_ignored: "nested_repository", bare_in_ignored: "nested_repository",
    untracked_unseen: "untracked", locked: "locked", same_size: "modified", gitlink: "nested_repository",
    index_lock: "git_lock", rebase: "operation", cherry_pick: "operation", submodule: "nested_repository",
}


def fsck(w):
    r = subprocess.run(["git", "-C", str(w.repo), "fsck", "--full"], env=w.env, capture_output=True, text=True)
    check(r.returncode == 0, f"git fsck: {r.stdout}{r.stderr}")


def everything(w, t):
    """What has to be the same again: bytes, status, index, refs of the tree."""
    return {
        "tree": tree_hash(t),
        "index": git(w, t, "ls-files", "-s", "-v"),
        "head": (git(w, t, "rev-parse", "HEAD"), git(w, t, "symbolic-ref", "-q", "HEAD", ok=False)),
        "reflog": git(w, t, "reflog"),
        "staged": git(w, t, "diff", "--cached", "--binary"),
    }


# Every command that takes a worktree away.
WAYS = {
    "delete": ["delete-worktree", "web_x-1"],
    "blast": ["blast-worktree", "web_x-1"],
    "scale": ["--plan", "--count", "x=0", "--keep-plan"],
}


def refused_then_forced_then_recovered(w, state, reason, way):
    command = [*WAYS[way], "--json", "--headless"]
    prepare(w)
    t = make(w)
    state(w, t)
    before = everything(w, t)
    result = w.envctl(*command)
    if reason:
        equal(result.rc, 1, f"{state.__name__}: refused\n{result}")
        error = result.json()["error"]
        equal(error["code"], "worktree_locked" if reason == "locked" else "worktree_dirty", "code")
        found = {r["reason"]: r for r in error["reasons"]}
        check(reason in found, f"{state.__name__}: {reason} is not among {found}")
        check(found[reason]["count"] >= 1 and found[reason]["sample"], "count and sample")
        equal(everything(w, t), before, "a refusal changes nothing")
        result = w.envctl(*command, "--force", rc=0)
    else:
        equal(result.rc, 0, f"{state.__name__}: removed\n{result}")
    removed = result.json()["removed"][0]
    check(not t.exists(), "the tree is gone")
    check(not t.parent.exists(), "no empty directory of the feature is left")
    check("web_x/1" not in git(w, w.repo, "worktree", "list"), "git has no ghost")
    # The worst housekeeping that there is does not lose anything.
    git(w, w.repo, "reflog", "expire", "--expire=now", "--all")
    git(w, w.repo, "gc", "-q", "--prune=now")
    fsck(w)
    listed = w.envctl("recover", "--json", rc=0).json()["items"]
    equal([(i["id"], i["project"], i["path"]) for i in listed], [(removed["id"], "web_x-1", str(t))], "listed")
    w.envctl("recover", removed["id"], rc=0)
    after = everything(w, t)
    equal(after, before, f"{state.__name__}: everything is back")
    fsck(w)
    check("web_x/1" in git(w, w.repo, "worktree", "list"), "git knows it again")
    equal(w.envctl("recover", "--json", rc=0).json()["items"], [], "the trash is empty")
    equal(git(w, w.repo, "for-each-ref", "refs/envctl"), "", "no pin is left")


def register(state, reason):
    for way in WAYS:
        def run(w, way=way):
            refused_then_forced_then_recovered(w, state, reason, way)

        run.__name__ = f"{way}_{state.__name__}"
        test(run)


for s, r in STATES.items():
    register(s, r)


@test
def making_a_tree_anew_is_a_removal_too(w):
    prepare(w)
    t = make(w)
    for state in (modified, untracked, ignored_file):
        state(w, t)
    before = everything(w, t)
    anew = ["start", "--headless", "--setup-worktree", "web_x", "1", "--recreate-existing-worktree", "--json"]
    error = w.envctl(*anew, rc=1).json()["error"]
    equal([r["reason"] for r in error["reasons"]], ["modified", "untracked", "ignored"], "refused")
    equal(everything(w, t), before, "a refusal changes nothing")
    id = w.envctl(*anew, "--force", rc=0).json()["removed"][0]["id"]
    equal((t / "a.txt").read_text(), "one\ntwo\nthree\n", "a new tree in its place")
    w.envctl("recover", id, "--to", "../old", rc=0)
    (w.base / "old/.git").write_text((t / ".git").read_text())  # the one thing that says where it lies
    equal(tree_hash(w.base / "old"), before["tree"], "the old one, to the byte")


def files_of(t):
    """What a person could edit."""
    return sorted(p for p in t.rglob("*") if p.is_file() and not p.is_symlink() and ".git" not in p.relative_to(t).parts)


def any_name(rng):
    return "".join(rng.choice("abc/é -\n") for _ in range(6)).strip("/ ").replace("//", "/") or "x"


def edit(w, t, rng):
    """One random thing that people, agents and git do; what does not go together does nothing."""
    path, new = rng.choice([*files_of(t), t / "a.txt"]), t / rng.choice(["", "data", "node_modules", "sub dir"]) / any_name(rng)
    kind = rng.choice(["write", "append", "unseen", "delete", "rename", "mode", "link", "new", "new", "add", "unstage", "commit",
                       "detach", "mark", "stash", "inner"])
    try:
        if kind == "write":
            path.write_bytes(rng.randbytes(rng.randrange(50)))
        elif kind == "append":
            path.write_bytes(path.read_bytes() + b"more\n")
        elif kind == "unseen":  # the same size, and the same time
            before = path.stat()
            path.write_bytes(rng.randbytes(before.st_size))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        elif kind == "delete":
            path.unlink()
        elif kind == "rename":
            new.parent.mkdir(parents=True, exist_ok=True)
            path.rename(new)
        elif kind == "mode":
            path.chmod(rng.choice([0o600, 0o644, 0o755, 0o444]))
        elif kind == "link":
            new.parent.mkdir(parents=True, exist_ok=True)
            new.symlink_to(rng.choice(["a.txt", "/", "../../../nowhere"]))
        elif kind == "new":
            new.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(rng.randbytes(rng.randrange(50)))
        elif kind == "inner":
            new.mkdir(parents=True)
            git(w, new, "init", "-q", ok=False)
    except OSError:
        return
    name = str(path.relative_to(t))
    commands = {
        "add": ["add", "--all"], "unstage": ["reset", "-q"], "commit": ["commit", "-qam", "work"], "stash": ["stash", "-q"],
        "detach": ["checkout", "-q", "--detach"],
        "mark": ["update-index", rng.choice(["--skip-worktree", "--assume-unchanged", "--chmod=+x"]), name],
    }
    if kind in commands:
        git(w, t, *commands[kind], ok=False)


@test(timeout=rounds(6) * 10 + 60)
def random_edits_come_back(w):
    """Without --force a tree is left alone, or everything of it is in the trash; with it, it is always there. To the byte."""
    prepare(w)
    rng = random.Random(SEED)
    kept = 0
    for n in range(rounds(6)):
        t = make(w)
        for _ in range(rng.choice([1, 2, 5, 20])):
            edit(w, t, rng)
        before, what = everything(w, t), f"seed {SEED} round {n}"
        command = [*rng.choice(list(WAYS.values())), "--headless", "--json"]
        result = w.envctl(*command)
        if result.rc:
            kept += 1
            equal(result.error()["code"], "worktree_dirty", f"{what}: {result}")
            equal(everything(w, t), before, f"{what}: a refusal changes nothing")
            result = w.envctl(*command, "--force", rc=0)
        check(not t.exists(), f"{what}: the tree is gone")
        git(w, w.repo, "reflog", "expire", "--expire=now", "--all")
        git(w, w.repo, "gc", "-q", "--prune=now")
        w.envctl("recover", result.json()["removed"][0]["id"], rc=0)
        equal(everything(w, t), before, f"{what}: everything is back")
        fsck(w)
        # Out of the way, with its branch.
        git(w, w.repo, "worktree", "remove", "--force", "--force", str(t))
        git(w, w.repo, "branch", "-D", "web_x-1")
    check(kept > rounds(6) / 2, f"{kept} refusals")


@test
def occupied_and_unknown_places(w):
    prepare(w)
    t = make(w)
    modified(w, t)
    w.envctl("delete-worktree", "web_x-1", "--force", "--headless", rc=0)
    t.mkdir(parents=True)
    equal(w.envctl("recover", "web_x-1", "--json", rc=1).json()["error"]["code"], "path_occupied", "code")
    equal(w.envctl("recover", "nothing", "--json", rc=1).json()["error"]["code"], "unknown_target", "code")
    w.envctl("recover", "web_x-1", "--to", "../some where", rc=0)
    equal((w.base / "some where/a.txt").read_text(), "mine\n", "content")
    contains(git(w, w.base / "some where", "status", "--short"), " M a.txt", "status")
    listed = w.envctl("gc", "--dry-run", "--json", rc=0).json()
    equal((listed["items"], listed["kept"]), ([], 0), "gc")


@test
def the_trash_is_emptied_after_a_week(w):
    prepare(w)
    t = make(w)
    detached(w, t)
    lost = git(w, t, "rev-parse", "HEAD").strip()
    w.envctl("delete-worktree", "web_x-1", "--force", "--headless", rc=0)
    # The detached one's branch is still there, so the next worktree has the next number.
    w.envctl("--headless", "--plan", "x", rc=0)
    w.envctl("delete-worktree", "web_x-2", "--headless", rc=0)
    old, young = [i["id"] for i in w.envctl("recover", "--json", rc=0).json()["items"]]
    record = w.repo / ".git/envctl-trash" / old / "record.json"
    document = json.loads(record.read_text(encoding="utf-8"))
    if document["head"] != lost:
        old, young = young, old
        record = w.repo / ".git/envctl-trash" / old / "record.json"
        document = json.loads(record.read_text(encoding="utf-8"))
    document["at_ms"] -= 8 * 24 * 3600 * 1000
    record.write_text(json.dumps(document), encoding="utf-8")
    shown = w.envctl("gc", "--dry-run", "--json", rc=0).json()
    equal(([i["id"] for i in shown["items"]], shown["dropped"], shown["kept"]), ([old], [], 1), "dry run")
    refused = w.envctl("gc", rc=1)
    check("dropping" not in refused.out and f"to drop: {old}" in refused.out, f"nothing is said to be done: {refused}")
    equal(w.envctl("gc", "--json", rc=1).json()["error"]["code"], "confirmation_required", "never by itself")
    git(w, w.repo, "cat-file", "-e", lost)
    equal(w.envctl("gc", "--yes", "--json", rc=0).json()["dropped"], [old], "dropped")
    equal([i["id"] for i in w.envctl("recover", "--json", rc=0).json()["items"]], [young], "the young one stays")
    pins = ("for-each-ref", "--format=%(refname)", "refs/envctl")
    equal(git(w, w.repo, *pins).split(), [f"refs/envctl/trash/{young}"], "pins")
    # Somebody's git was at work when a pin was to go.
    lock = w.repo / f".git/refs/envctl/trash/{young}.lock"
    lock.write_text("")
    w.envctl("recover", young, rc=0)
    equal(git(w, w.repo, *pins).split(), [f"refs/envctl/trash/{young}"], "it is left")
    lock.unlink()
    w.envctl("gc", rc=0)
    equal(git(w, w.repo, *pins), "", "gc takes it")
    fsck(w)


@test
def a_branch_that_moved_meanwhile(w):
    prepare(w)
    t = make(w)
    committed(w, t)
    modified(w, t)
    head = git(w, t, "rev-parse", "HEAD").strip()
    w.envctl("delete-worktree", "web_x-1", "--force", "--headless", rc=0)
    git(w, w.repo, "branch", "-f", "web_x-1", "main")
    contains(w.envctl("recover", "web_x-1", rc=0).err, "without a branch", "said")
    equal(git(w, t, "rev-parse", "HEAD").strip(), head, "its commit")
    equal(git(w, t, "status", "--porcelain"), " M a.txt\n", "its edits")
    equal(git(w, w.repo, "rev-parse", "web_x-1"), git(w, w.repo, "rev-parse", "main"), "the branch is as it was")


@test
def names_are_never_guessed(w):
    prepare(w)
    t = make(w)
    for args, code in (([], "target_required"), (["nope"], "unknown_target"), (["--all"], "confirmation_required")):
        equal(w.envctl("delete-worktree", *args, "--json", "--headless", rc=1).json()["error"]["code"], code, str(args))
    preview = w.envctl("delete-worktree", "web_x-1", "--dry-run", "--json", rc=0).json()
    equal((preview["removed"], preview["worktrees"][0]["refused"]), ([], False), "dry run")
    check(t.exists(), "still there")


main()
