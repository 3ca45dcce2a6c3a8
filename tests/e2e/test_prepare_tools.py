#!/usr/bin/env python3
"""What package managers are asked to do, and when: with stand-ins on PATH, which write down what they are called with and make what
the real ones make. tests/e2e/test_prepare.py has the real npm, pip and Django."""

import subprocess

from lib import BIN, PYTHON, Proc, check, contains, equal, main, test, wait_for

# $0 is called with "$@". A file `NAME.fails` or `NAME.hangs` beside the record makes an installation of NAME do that.
STAND_IN = """#!/bin/sh
name=${0##*/} record=RECORD repo=REPO
here=${PWD#"$repo"}; here=${here#/}
python() { # a virtual environment whose interpreter writes down which modules it runs
  mkdir -p "$1/bin"
  printf '%s\\n' '#!/bin/sh' "if [ \\"\\$1\\" = -m ]; then" "  echo \\"python \\$*\\" >>$record/calls" \\
    "  if [ -e $record/\\$2.fails ]; then echo \\"no such \\$2\\" >&2; exit 5; fi" \\
    "  if [ -e $record/\\$2.hangs ]; then echo \\$\\$ >$record/pid.new; mv $record/pid.new $record/pid; exec sleep 600; fi" \\
    "  exit 0" 'fi' 'exec PYTHON "$@"' >"$1/bin/python"
  chmod +x "$1/bin/python"
}
case "$name $1" in
*' run') shift; if [ "$name" = poetry ] || [ "$name" = pipenv ]; then shift; exec "$record/$name-env/bin/python" "$@"; fi
  exec PYTHON "$repo/server.py" --port "$PORT" ;;
'python3 server.py') exec PYTHON "$@" ;;
'poetry env' | 'pipenv --venv') echo "$record/$name-env"; exit ;;
esac
echo "$name $* in ${here:-.}" >>$record/calls
if [ -e $record/meet ]; then # succeeds when two run at once
  : >"$record/met.$name"
  i=0; until [ "$(ls $record/met.* | wc -l)" = 2 ]; do i=$((i + 1)); [ $i -lt 400 ] || exit 9; sleep 0.05; done
fi
case "$name" in
python3) python .venv; echo >.venv/pyvenv.cfg ;;
esac
if [ -e $record/$name.hangs ]; then echo $$ >$record/pid.new; mv $record/pid.new $record/pid; exec sleep 600; fi
if [ -e $record/$name.fails ]; then echo "cannot reach the registry"; echo "it said: 503" >&2; exit 7; fi
case "$name" in
python3) : >.venv/bin/activate ;;
uv) python .venv ;;
poetry | pipenv) python "$record/$name-env" ;;
*) mkdir -p node_modules; : >node_modules/package ;;
esac
echo "$name is done" >>$record/calls
"""

SERVER = """import argparse, http.server
p = argparse.ArgumentParser()
p.add_argument("--port", type=int)
http.server.HTTPServer(("127.0.0.1", p.parse_args().port), http.server.BaseHTTPRequestHandler).serve_forever()
"""
PACKAGE = '{"scripts": {"dev": "node server.js"}, "dependencies": {"left": "1"}}\n'


class Tools:
    """The stand-ins of a world, and what they were asked to do."""

    def __init__(self, w, *names):
        self.w, self.record = w, w.base / "record"
        self.record.mkdir()
        (w.base / "bin").mkdir()
        text = STAND_IN.replace("RECORD", str(self.record)).replace("REPO", str(w.repo)).replace("PYTHON", PYTHON)
        for name in names:
            (w.base / "bin" / name).write_text(text, encoding="utf-8")
            (w.base / "bin" / name).chmod(0o755)
        w.env["PATH"] = f"{w.base}/bin:{w.env['PATH']}"
        w.write("server.py", SERVER)
        w.write(".gitignore", "node_modules\n.venv\n")

    def calls(self):
        """What was called since the last look."""
        path = self.record / "calls"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [line for line in lines if not line.endswith("is done")]

    def say(self, name):
        (self.record / name).touch()

    def unsay(self, name):
        (self.record / name).unlink()

    def hanging(self):
        """The process of the installation that hangs."""
        path = self.record / "pid"
        wait_for(path.exists, "the installation to hang")
        process = Proc(int(path.read_text(encoding="utf-8")))
        path.unlink()
        return process


def prepared(w, *options, **more):
    """Starts and stops. What was done of the steps and why, as `start --json` says it."""
    result = w.start("--json", *options, **more)
    w.stop_all()
    return [f"{p['step']} {p['status']}: {p['reason']}" for p in result.json()["prepared"]]


def steps(w, *options):
    """The same of `explain-startup`, which does nothing."""
    document = w.envctl("explain-startup", "--json", *options, rc=0).json()
    return [
        f"{s['name']} {'done: ' + s['reason'] if s['skip_reason'] is None else 'skipped: ' + s['skip_reason']}"
        for service in document["plan"]["projects"][0]["services"]
        for s in service["prepare"]
    ]


def installs_once(w, tools, want, lock, gone):
    """The life of an installation. `want`: what is called; `lock`: the file it depends on; `gone`: what it makes, and what is missing
    then."""
    equal(steps(w), prepared(w), f"{want}: foretold and done")
    equal(tools.calls(), [want], "called")
    equal(prepared(w), ["install skipped: nothing changed"], f"{want}: once")
    (w.repo / lock).write_text("changed\n", encoding="utf-8")
    changed = f"install done: `{lock.rsplit('/', 1)[-1]}` changed"
    equal(prepared(w), [changed], f"{want}: another lock file")
    made, missing = gone
    w.run("rm", "-r", made, rc=0)
    equal(prepared(w, "--fast"), [f"install done: `{missing}` is missing"], f"{want}: what it makes is gone")
    equal(tools.calls(), [want, want], f"{want}: called")
    equal(w.git("status", "--porcelain").split(), ["M", lock], "the repository is as it was")


@test
def packages_of_javascript(w):
    tools = Tools(w, "pnpm", "yarn", "bun")
    w.write("frontend/package.json", PACKAGE)
    for lock, command in {
        "pnpm-lock.yaml": "pnpm install --frozen-lockfile",
        "yarn.lock": "yarn install --frozen-lockfile",
        "bun.lock": "bun install",
    }.items():
        w.write(f"frontend/{lock}", "1\n")
        w.configure(MAIN_BACKEND_ENABLE="false")
        w.commit()
        installs_once(w, tools, f"{command} in frontend", f"frontend/{lock}", ("frontend/node_modules", "node_modules"))
        w.run("rm", "-r", "frontend/node_modules", f"frontend/{lock}", rc=0)


@test
def packages_of_a_workspace(w):
    """They are installed in its root, for all of its packages together."""
    tools = Tools(w, "pnpm")
    w.write("package.json", '{"private": true}\n')
    w.write("pnpm-workspace.yaml", "packages: [frontend]\n")
    w.write("pnpm-lock.yaml", "1\n")
    w.write("frontend/package.json", PACKAGE)
    w.configure(MAIN_BACKEND_ENABLE="false")
    w.commit()
    installs_once(w, tools, "pnpm install --frozen-lockfile in .", "pnpm-lock.yaml", ("node_modules", "node_modules"))
    w.write("frontend/package.json", PACKAGE + "\n")
    equal(steps(w), ["install done: `frontend/package.json` changed"], "a package of it")


@test
def packages_of_python(w):
    tools = Tools(w, "poetry", "uv", "pipenv")
    w.write("backend/server.py", SERVER)
    w.configure(MAIN_FRONTEND_ENABLE="false")
    outside = tools.record
    for lock, command, gone in (
        ("poetry.lock", "poetry install", (outside / "poetry-env", outside / "poetry-env")),
        ("uv.lock", "uv sync", ("backend/.venv", ".venv/bin/python")),
        ("Pipfile", "pipenv install", (outside / "pipenv-env", outside / "pipenv-env")),
    ):
        w.write(f"backend/{lock}", "1\n")
        w.commit()
        # The environment of whoever calls is not the one to install into.
        w.env["VIRTUAL_ENV"] = str(w.base / "mine")
        installs_once(w, tools, f"{command} in backend", f"backend/{lock}", gone)
        w.start()
        contains(w.start().err, "Main Backend: already running", "what was installed changes no command")
        w.stop_all()
        w.run("rm", "-rf", "backend/.venv", f"backend/{lock}", rc=0)


@test
def alembic(w):
    """Migrations come after the installation, also when that is done elsewhere, and are told apart from it."""
    tools = Tools(w, "uv")
    w.write("backend/server.py", SERVER)
    w.write("uv.lock", "1\n")
    w.write("backend/alembic.ini", "[alembic]\n")
    w.configure(MAIN_FRONTEND_ENABLE="false", ENVCTL_BACKEND_MIGRATIONS_ON_STARTUP="true")
    w.commit()
    equal(prepared(w), ["install done: `.venv/bin/python` is missing", "migrate done: runs at every start"], "both")
    equal(tools.calls(), ["uv sync in .", "python -m alembic upgrade head"], "in this order")
    equal(prepared(w), ["install skipped: nothing changed", "migrate done: runs at every start"], "the database may be another")
    equal(prepared(w, "--no-prepare"), ["install skipped: --no-prepare", "migrate skipped: --no-prepare"], "neither")
    tools.say("alembic.fails")
    tools.calls()
    result = w.start()
    contains(result.err, "migrate failed: `", "a warning")
    w.envctl("resume", "--headless", rc=0)
    equal(tools.calls(), ["python -m alembic upgrade head"], "a resume migrates nothing")
    w.stop_all()
    equal(prepared(w), ["install skipped: nothing changed", "migrate failed: runs at every start"], "told")
    w.configure(
        MAIN_FRONTEND_ENABLE="false", ENVCTL_BACKEND_MIGRATIONS_ON_STARTUP="true", ENVCTL_BACKEND_BOOTSTRAP_STRICT="true"
    )
    error = w.start("--json", rc=1).error()
    equal((error["code"], error["step"], error["log_tail"]), ("prepare_failed", "migrate", ["no such alembic"]), "strict")


@test
def a_failing_installation(w):
    tools = Tools(w, "pnpm")
    w.write("frontend/package.json", PACKAGE)
    w.write("frontend/pnpm-lock.yaml", "1\n")
    w.configure(MAIN_BACKEND_ENABLE="false")
    w.commit()
    tools.say("pnpm.fails")
    said = w.start(rc=1).err
    contains(said, "Main Frontend: preparing: install: pnpm install --frozen-lockfile", "progress")
    contains(said, "Main Frontend: install failed: `pnpm install --frozen-lockfile` exited with code 7 after", "what failed")
    contains(said, "    cannot reach the registry\n    it said: 503\n", "the end of what it printed")
    contains(said, "--no-prepare starts without it", "what to do")
    check(not w.service_processes(), "nothing runs")
    error = w.start("--json", rc=1).error()
    equal((error["code"], error["step"], error["where"]), ("prepare_failed", "install", "Main/frontend"), "the same as JSON")
    contains(open(error["log_path"], encoding="utf-8").read(), "it said: 503", "the log")
    tools.calls()
    equal(prepared(w, "--no-prepare"), ["install skipped: --no-prepare"], "without it")
    equal(tools.calls(), [], "nothing was called")
    tools.unsay("pnpm.fails")
    equal(prepared(w), ["install done: `node_modules` is missing"], "when the registry is back")


def killed_while_hanging(w, tools, name):
    """Kills the keeper of a start during an installation. The process that it leaves."""
    tools.say(f"{name}.hangs")
    null = subprocess.DEVNULL
    client = w.spawn(BIN, "start", "--headless", "--service-prep-sequential", stdin=null, stdout=null, stderr=null)
    process = tools.hanging()
    for keeper in w.keepers():
        keeper.signal(9)
    client.wait(60)
    tools.unsay(f"{name}.hangs")
    return process


@test
def killed_between_two_steps(w):
    """A new virtual environment is not taken for one that has its packages."""
    tools = Tools(w, "python3", "pnpm")
    w.write("backend/server.py", SERVER)
    w.write("backend/requirements.txt", "left\n")
    w.write("frontend/package.json", PACKAGE)
    w.write("frontend/pnpm-lock.yaml", "1\n")
    w.configure()
    w.commit()
    # One at a time, in turn: the environment, the packages of the frontend, those of the backend.
    left = killed_while_hanging(w, tools, "pnpm")
    equal(len(tools.calls()), 2, "in the middle")
    equal(prepared(w), ["install done: was interrupted", "install done: `node_modules` is missing"], "both")
    check(not left.alive, "what the killed keeper left was ended first")


@test
def a_virtual_environment_half_made(w):
    """Failed or killed in the middle, it is completed, and the packages are installed after all."""
    tools = Tools(w, "python3")
    w.write("backend/server.py", SERVER)
    w.write("backend/requirements.txt", "left\n")
    w.configure(MAIN_FRONTEND_ENABLE="false")
    w.commit()
    make = "python3 -m venv --system-site-packages .venv in backend"
    install = "python -m pip install -r requirements.txt"
    tools.say("python3.fails")
    contains(w.start(rc=1).err, "Main Backend: venv failed: `", "what failed")
    equal(tools.calls(), [make], "no packages without an environment")
    tools.unsay("python3.fails")
    equal(prepared(w, "--no-prepare"), [], "with the machine's")
    pip = killed_while_hanging(w, tools, "pip")
    equal(tools.calls(), [make, install], "as far as it came")
    equal(prepared(w), ["install done: was interrupted"], "resumed")
    check(not pip.alive, "what the killed keeper left was ended first")
    equal(tools.calls(), [install], "only what was not done")
    equal(prepared(w), ["install skipped: nothing changed"], "once")


@test
def worktrees(w):
    """Each has an environment of its own, which is foretold where it will be, and is nobody's work when the worktree goes."""
    tools = Tools(w, "python3")
    w.write(".gitignore", "trees/\n")
    w.write("backend/server.py", SERVER)
    w.write("backend/requirements.txt", "left\n")
    w.write("todo/plans/web/x.md", "# X\n")
    w.configure(MAIN_FRONTEND_ENABLE="false", TREES_FRONTEND_ENABLE="false")
    w.commit()
    prepared(w)
    tools.calls()
    tree = w.repo / "trees/web_x/1"
    command = [f"{tree}/backend/.venv/bin/python", "server.py", "--port"]

    def planned(*args):
        project = w.envctl("explain-startup", "--json", *args, rc=0).json()["plan"]["projects"][0]
        service = project["services"][0]
        return service["command"][:3], [s["name"] for s in service["prepare"] if s["skip_reason"] is None]

    equal(planned("--plan", "x"), (command, ["venv", "install"]), "foretold")
    w.envctl("--headless", "--plan", "x", rc=0)
    equal(tools.calls(), ["python3 -m venv --system-site-packages .venv in trees/web_x/1/backend",
                          "python -m pip install -r requirements.txt"], "done")
    equal(planned("--trees", "--project", "web_x-1"), (command, []), "done")
    w.stop_all()
    equal(w.git("-C", str(tree), "status", "--porcelain"), "", "nothing is in the way of git")
    w.envctl("delete-worktree", "web_x-1", "--headless", rc=0)
    check(not tree.exists(), "gone, and its environment with it")


@test
def flags_and_settings(w):
    tools = Tools(w, "pnpm", "uv")
    w.write("frontend/package.json", PACKAGE)
    w.write("frontend/pnpm-lock.yaml", "1\n")
    w.write("backend/server.py", SERVER)
    w.write("backend/uv.lock", "1\n")
    w.configure()
    w.commit()
    # Side by side: each waits for the other.
    tools.say("meet")
    prepared(w)
    tools.unsay("meet")
    tools.calls()
    w.write("backend/uv.lock", "2\n")
    equal(steps(w, "--fast"), ["install skipped: done before"] * 2, "--fast does not look at inputs")
    equal(prepared(w, "--fast"), ["install skipped: done before"] * 2, "nor does it then")
    equal(steps(w), ["install done: `uv.lock` changed", "install skipped: nothing changed"], "what a look says")
    equal(prepared(w, "--no-prepare"), ["install skipped: --no-prepare"] * 2, "--no-prepare")
    equal(tools.calls(), [], "nothing was called so far")
    # One after the other: whoever begins has ended before the next one begins.
    for option in ("--service-prep-sequential", "ENVCTL_SERVICE_PREP_PARALLEL=false"):
        equal(prepared(w, "--refresh-cache", option), ["install done: --refresh-cache"] * 2, option)
        lines = (tools.record / "calls").read_text(encoding="utf-8").splitlines()
        equal([line.split()[1] == "is" for line in lines], [False, True] * 2, option)
        tools.calls()
    contains(w.envctl("explain-startup", rc=0).out, "install (uv sync) is left out: nothing changed", "for reading")
    skipped = [e for e in w.events() if e["event"] == "service.bootstrap.skip"]
    equal(skipped[-1]["data"], {"step": "install", "reason": "--no-prepare"}, "an event")


main()
