#!/usr/bin/env python3
"""Looking changes nothing: inspection commands write no file, run no program, start no keeper, and work on a read-only disk.
Programs planted in the repository or found through a relative PATH entry are never run."""

import os
import re
import subprocess

from lib import BIN, PYTHON, check, contains, equal, main, test, wait_for

INSPECTION = [
    ["--version"],
    ["help"],
    ["list-commands"],
    ["list-targets", "--json"],
    ["show-config", "--json"],
    ["show-state", "--json"],
    ["explain-startup", "--json"],
    ["explain-startup"],
    ["logs", "--all"],
]
WRITES = (
    "mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,symlink,symlinkat,link,linkat,truncate,ftruncate,chmod,fchmod,fchmodat,"
    "chown,fchown,fchownat,creat,mknod,mknodat"
)


def snapshot(w):
    found = {}
    for directory, names, files in os.walk(w.base):
        for name in names + files:
            if name.endswith(".txt.times"):
                continue  # the keeper's, who notes there when a service has written something
            s = os.lstat(os.path.join(directory, name))
            found[os.path.join(directory, name)] = (s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
    return found


def traced(w, command, strace_out):
    """Runs a command in a mount namespace in which the whole sandbox is read-only, under strace."""
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && cd "$1/repo" && shift && exec "$@"'
    return w.run(
        "unshare", "--mount", "sh", "-c", script, "sh", w.base,
        "strace", "-f", "-qq", "-s", "4096", "-e", "signal=none", "-o", strace_out, "-e", f"trace=execve,execveat,openat,open,connect,{WRITES}",
        BIN, *command,
    )


def look_around(w, expected):
    """All inspection commands; `expected` maps a command's first word to its exit code when that is not 0."""
    before = snapshot(w)
    # Outside of the sandbox: there it could not be written.
    trace = os.path.join("/dev/shm", f"envctl-trace-{os.getpid()}")
    try:
        for command in INSPECTION:
            result = traced(w, command, trace)
            equal(result.rc, expected.get(command[0], 0), f"exit code of {command}\n{result}\n")
            with open(trace, encoding="utf-8", errors="replace") as f:
                calls = f.read().splitlines()
            executed = [c for c in calls if re.search(r"\bexecve(at)?\(", c)]
            equal(len(executed), 1, f"programs run by {command}: {executed}")
            check(not any("libgit2" in c for c in calls), f"{command} loads libgit2")
            for call in calls:
                check(not re.search(r"O_WRONLY|O_RDWR|O_CREAT", call) or "/dev/" in call, f"{command} opens for writing: {call}")
                check(not re.search(rf"\b({WRITES.replace(',', '|')})\(", call), f"{command} changes something: {call}")
    finally:
        if os.path.exists(trace):
            os.unlink(trace)
    equal(snapshot(w), before, "files after looking")


@test
def before_anything_ran(w):
    w.shop()
    look_around(w, {"show-state": 1, "logs": 1})
    check(not w.runtime.exists(), "no runtime root")
    equal(w.processes(), [], "processes")


@test
def while_it_runs(w):
    w.services(backend="", frontend="")
    w.start()
    keeper = w.keepers()[0]
    look_around(w, {})
    equal([p.pid for p in w.keepers()], [keeper.pid], "keepers")


@test
def after_the_keeper_was_killed(w):
    w.services(backend="", frontend="")
    w.start()
    w.keepers()[0].signal(9)
    look_around(w, {})
    equal(w.keepers(), [], "no keeper was started")


@test
def a_start_runs_the_services_and_nothing_else(w):
    """No ps, lsof, ss or git beside the programs that were asked for."""
    w.services(backend="", frontend="")
    trace = w.base / "trace"
    # strace stays until the last process it follows has ended.
    p = w.spawn("strace", "-f", "-qq", "-s", "4096", "-e", "signal=none", "-o", trace, "-e", "trace=execve", BIN, "start", "--headless",
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: "startup.done" in [e["event"] for e in w.events()], "the start to be through")
    # The end asks podman what containers there are, where it has any.
    told = trace.read_text(encoding="utf-8", errors="replace")
    w.stop_all()
    equal(p.wait(60), 0, "exit code")
    programs = re.findall(r'execve\("([^"]+)", \["[^"]*"(?:, "([^"]*)")?', told)
    equal(
        sorted(os.path.basename(program) + (" __keeper" if word == "__keeper" else "") for program, word in programs),
        sorted([os.path.basename(BIN), os.path.basename(BIN) + " __keeper", *[os.path.basename(PYTHON)] * 2]),
        "programs that were run",
    )


def plant(w):
    """Programs that leave a mark when they are run, in every place from which a careless program runs things."""
    mark = w.base / "planted-program-ran"
    for directory in ("", "bin", "backend", "frontend"):
        for name in ("git", "docker", "python3", "node", "npm", "sh", "lsof", "ps", "ss", "uvicorn"):
            path = w.repo / directory / name
            if path.exists():
                continue
            w.write(os.path.join(directory, name), f"#!/bin/sh\necho {directory}/{name} >>{mark}\nexit 9\n", 0o755)
    return mark


@test
def planted_programs_are_never_run(w):
    w.services(backend="", frontend="")
    mark = plant(w)
    path = f".:bin:./backend::{w.env['PATH']}:."
    for command in INSPECTION:
        w.envctl(*command, env={"PATH": path})
    for command in (["start", "--headless"], ["show-state"], ["stop-all"]):
        result = w.envctl(*command, rc=0, env={"PATH": path})
        check(not mark.exists(), f"{command} ran {mark.read_text(encoding='utf-8') if mark.exists() else ''}\n{result}")


@test
def git_configuration_runs_nothing(w):
    """A repository's own git configuration names programs; looking and starting run none of them."""
    w.services(backend="")
    mark = w.base / "planted-program-ran"
    evil = w.write("evil.sh", f"#!/bin/sh\necho \"$0 $*\" >>{mark}\nexit 0\n", 0o755)
    for key in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "diff.external", "core.hooksPath"):
        w.git("config", key, str(evil.parent if key == "core.hooksPath" else evil))
    for hook in ("post-index-change", "pre-commit", "post-checkout", "reference-transaction"):
        w.write(f".git/hooks/{hook}", f"#!/bin/sh\necho {hook} >>{mark}\n", 0o755)
    for command in INSPECTION + [["start", "--headless"], ["stop-all"]]:
        w.envctl(*command)
        check(not mark.exists(), f"{command} ran {mark.read_text(encoding='utf-8') if mark.exists() else ''}")


@test
def the_environment_does_not_reach_the_vm(w):
    """LUA_PATH, LUA_INIT and a directory of Lua files beside the repository are not our code."""
    w.services(backend="")
    mark = w.base / "planted-program-ran"
    lua = f"local f = io.open('{mark}', 'a') if f then f:write('ran') f:close() end return {{}}\n"
    for path in ("envctl/main.lua", "lua/envctl/main.lua", "envctl/cli/router.lua", "cjson.lua", "init.lua"):
        w.write(path, lua)
    env = {"LUA_PATH": f"{w.repo}/?.lua;{w.repo}/lua/?.lua", "LUA_CPATH": f"{w.repo}/?.so", "LUA_INIT": f"@{w.repo}/init.lua"}
    env |= {f"{name}_5_4": value for name, value in env.items()}
    for command in INSPECTION:
        w.envctl(*command, env=env)
        check(not mark.exists(), f"{command} loaded a Lua file of the repository")


@test
def a_directory_below_the_root_is_the_same_repository(w):
    w.services(backend="")
    a = w.envctl("show-config", "--json", rc=0).json()
    b = w.envctl("show-config", "--json", rc=0, cwd=w.repo / "backend").json()
    equal(a["config_file"], b["config_file"], "config file")


@test
def a_link_to_the_root_is_the_same_repository(w):
    w.services(backend="")
    link = w.base / "link"
    link.symlink_to(w.repo)
    w.start(cwd=link)
    pid = w.saved_state()["services"]["Main Backend"]["pid"]
    w.start("--repo", link, cwd=w.base)
    w.start()
    equal(w.saved_state()["services"]["Main Backend"]["pid"], pid, "one service, by whatever way")
    equal(len(list((w.runtime / "engine").glob("repo-*"))), 1, "scopes")


@test
def a_machine_with_nothing_on_path(w):
    """No git, docker, ps, lsof, python: what needs none of them works, and what needs one says which."""
    w.services(backend="")
    w.write("todo/plans/web/x.md", "# X\n")
    nothing = {"PATH": str(w.base / "nothing")}
    for command in (*INSPECTION[:-2], ["list-trees"], ["ports"], ["start", "--headless"], ["logs", "--all"], ["health"],
                    ["restart", "--headless"], ["stop-all"]):
        w.envctl(*command, rc=1 if command[0] == "show-state" else 0, env=nothing)
    contains(w.envctl("doctor", rc=1, env=nothing).out, "git is not on the PATH", "doctor says what is missing")
    error = w.envctl("--headless", "--plan", "x", "--json", rc=1, env=nothing).error()
    contains(error["message"], "git", "a worktree needs git")
    w.write("backend/main.py", "import fastapi\napp = fastapi.FastAPI()\n")
    w.write("backend/requirements.txt", "fastapi\n")
    w.configure(MAIN_FRONTEND_ENABLE=False)
    error = w.envctl("start", "--headless", "--json", rc=1, env=nothing).error()
    contains(error["message"], "no Python found for `backend/main.py`", "a service of Python needs Python")
    check(error["hint"], "what to do")


@test
def the_flag_beats_the_environment(w):
    """Run from within something that envctl started elsewhere: --repo says which repository, whatever is inherited."""
    w.services(backend="")
    w.run("git", "init", "-q", w.base / "other", rc=0)
    inherited = {"RUN_REPO_ROOT": str(w.base / "other"), "ENVCTL_SCOPE": "/elsewhere", "ENVCTL_SERVICE": "run-1/Other/api"}
    elsewhere = w.envctl("show-config", "--json", rc=0, env=inherited).json()["base_dir"]
    here = w.envctl("show-config", "--repo", w.repo, "--json", rc=0, env=inherited).json()["base_dir"]
    equal((elsewhere, here), (str(w.base / "other"), str(w.repo)), "which repository is meant")


if __name__ == "__main__":
    main()
