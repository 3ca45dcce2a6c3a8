#!/usr/bin/env python3
"""The runtime root was there before us, made by somebody else (uid 65534): refused, nothing written, nothing read, nothing started.

Needs root, for only root can make somebody else's files. The kernel may have fs.protected_symlinks off, as on many CI machines:
then nothing but envctl's own checks stands between it and the attacker."""

import json
import os
import shutil

from lib import BIN, check, contains, equal, main, test, wait_for

NOBODY = 65534


def scope_name(w):
    """The scope directory's name, from a run in another place."""
    w.envctl("start", "--headless", rc=0)
    name = w.scope_dir().name
    w.stop_all()
    w.gone()
    shutil.rmtree(w.runtime)
    return name


def snapshot(path):
    """Everything below a path, with sizes and times, symlinks not followed."""
    found = {}
    for directory, names, files in os.walk(path):
        for name in names + files:
            full = os.path.join(directory, name)
            s = os.lstat(full)
            found[full] = (s.st_mode, s.st_uid, s.st_size, s.st_mtime_ns)
    s = os.lstat(path)
    found["."] = (s.st_mode, s.st_uid, s.st_mtime_ns)
    return found


def refused(w, what, trap=None, gone=True):
    """start, stop-all and looking: exit 1 with the one code, and nothing happened."""
    before = snapshot(trap) if trap else None
    for command in (["start", "--headless"], ["show-state"], ["stop-all"], ["logs", "--all"]):
        result = w.envctl(*command, "--json", rc=1, timeout=20)
        error = result.error()
        equal(error["code"], "runtime_root_unsafe", f"{what}: {' '.join(command)}: code")
        contains(error["message"], str(w.runtime), f"{what}: message")
        check(error["hint"], f"{what}: a hint")
        text = w.envctl(*command, rc=1, timeout=20)
        check("stack traceback" not in text.err, f"{what}: {text}")
    if trap:
        equal(snapshot(trap), before, f"{what}: what the attacker sees")
    if gone:
        w.gone()


def clear(path):
    if os.path.islink(path) or os.path.isfile(path) or os.path.exists(path) and not os.path.isdir(path):
        os.unlink(path)
    elif os.path.isdir(path):
        shutil.rmtree(path)


def trap_dir(w):
    """A directory of the attacker's, writable for all, with a forged state in it."""
    trap = w.base / "trap"
    clear(trap)
    trap.mkdir()
    os.chmod(trap, 0o777)
    os.chown(trap, NOBODY, NOBODY)
    return trap


@test
def the_root_itself(w):
    check(os.geteuid() == 0, "this test needs root")
    w.services(backend="")
    root = w.runtime
    for what in ("theirs 700", "theirs 777", "symlink", "dangling symlink", "FIFO", "device", "file", "their file"):
        trap = trap_dir(w)
        clear(root)
        if what.startswith("theirs"):
            root.mkdir()
            os.chmod(root, int(what.split()[1], 8))
            os.chown(root, NOBODY, NOBODY)
            trap = root
        elif what == "symlink":
            root.symlink_to(trap)
        elif what == "dangling symlink":
            root.symlink_to(trap / "not-there-yet")
        elif what == "FIFO":
            os.mkfifo(root)
        elif what == "device":
            os.mknod(root, 0o600 | 0o020000, os.makedev(1, 3))
        else:
            root.write_text("", encoding="ascii")
            if what == "their file":
                os.chown(root, NOBODY, NOBODY)
        refused(w, what, trap)
    clear(root)


@test
def ours_but_open_to_all(w):
    """A directory of our own that others may write to: refused, or closed before anything is put into it."""
    w.services(backend="")
    w.runtime.mkdir()
    os.chmod(w.runtime, 0o777)
    result = w.envctl("start", "--headless", "--json")
    if result.rc == 0:
        equal(oct(w.runtime.stat().st_mode & 0o777), "0o700", "mode")
        w.stop_all()
        w.gone()
    else:
        equal(result.error()["code"], "runtime_root_unsafe", "code")
        w.gone()
    clear(w.runtime)


@test
def what_lies_inside(w):
    """The root is ours, but a part of the way below it is not."""
    w.services(backend="")
    name = scope_name(w)
    for part in ("engine", f"engine/{name}"):
        for what in ("symlink", "theirs", "FIFO"):
            trap = trap_dir(w)
            clear(w.runtime)
            path = w.runtime / part
            path.parent.mkdir(parents=True)
            for directory in (w.runtime, path.parent):
                os.chmod(directory, 0o700)
            if what == "symlink":
                path.symlink_to(trap)
            elif what == "FIFO":
                os.mkfifo(path)
            else:
                path.mkdir()
                os.chmod(path, 0o777)
                os.chown(path, NOBODY, NOBODY)
                trap = path
            before = snapshot(trap)
            result = w.envctl("start", "--headless", "--json", rc=1, timeout=20)
            contains(result.error()["message"], str(w.runtime), f"{part} is {what}: message")
            equal(snapshot(trap), before, f"{part} is {what}: what the attacker sees")
            w.gone()
    clear(w.runtime)


@test
def planted_files_in_the_scope(w):
    """Symlinks in the place of our own files: the target is neither written nor read."""
    w.services(backend="")
    name = scope_name(w)
    scope = w.runtime / "engine" / name
    for file in ("run_state.json", "events.jsonl", "keeper.log", "keeper.err", "keeper.lock", "error_report.json", "../ports.json",
                 "../ports.lock"):
        clear(w.runtime)
        scope.mkdir(parents=True)
        for directory in (w.runtime, scope.parent, scope):
            os.chmod(directory, 0o700)
        victim = w.base / "victim"
        victim.write_text("precious\n", encoding="ascii")
        (scope / file).symlink_to(victim)
        result = w.envctl("start", "--headless", "--json", timeout=20)
        check(result.rc in (0, 1), str(result))
        equal(victim.read_text(encoding="ascii"), "precious\n", f"{file}: the target of the planted link")
        for keeper in w.keepers():
            keeper.signal(9)
        for p in w.service_processes():
            p.signal(9)
        w.gone()
    clear(w.runtime)


@test
def a_link_in_its_place_while_it_runs(w):
    """A keeper is at work when the root is exchanged for a link to a copy: nothing more is written, and every command refuses."""
    w.services(backend="", frontend="")
    w.start()
    keeper, processes = w.keepers()[0], w.service_processes()
    moved, trap = w.base / "moved", w.base / "trap"
    w.runtime.rename(moved)
    shutil.copytree(moved, trap, ignore=lambda _, names: [n for n in names if n.endswith(".sock")], symlinks=True)
    w.runtime.symlink_to(trap)
    before = snapshot(trap)
    refused(w, "exchanged", trap, gone=False)
    for p in processes:
        p.signal(9)
    wait_for(lambda: not keeper.alive, "the keeper to go")
    equal(snapshot(trap), before, "what is below the link")
    w.runtime.unlink()
    moved.rename(w.runtime)


@test
def the_default_root_is_private(w):
    """Without RUN_SH_RUNTIME_DIR: /tmp/envctl-runtime-<uid>, and a trap there is refused. In a mount namespace with its own /tmp."""
    w.services(backend="")
    uid, base = os.getuid(), str(w.base)
    # The sandbox itself may lie below /tmp: it is bound to the same place in the fresh one, by way of /mnt.
    script = (
        'mount --bind "$3" /mnt && mount -t tmpfs -o mode=1777 none /tmp && mkdir -p "$3" && mount --bind /mnt "$3" && cd "$3/repo"'
        ' && mkdir "/tmp/envctl-runtime-$2" && chown 65534 "/tmp/envctl-runtime-$2"'
        ' && exec env -u RUN_SH_RUNTIME_DIR "$1" start --headless --json'
    )
    # So may this checkout: what runs is a copy inside the sandbox.
    binary = w.base / "envctl-copy"
    shutil.copy2(BIN, binary)
    if w.env.get("ENVCTL_LUA_DIR"):
        shutil.copytree(w.env["ENVCTL_LUA_DIR"], w.base / "lua-copy")
        w.env["ENVCTL_LUA_DIR"] = str(w.base / "lua-copy")
    result = w.run("unshare", "--mount", "sh", "-c", script, "sh", binary, uid, base, rc=1)
    error = json.loads(result.out)["error"]
    equal(error["code"], "runtime_root_unsafe", "code")
    contains(error["message"], f"/tmp/envctl-runtime-{uid}", "message")


if __name__ == "__main__":
    main()
