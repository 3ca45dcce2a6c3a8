#!/usr/bin/env python3
"""What runs before a service starts: real npm, a real virtual environment, real migrations, and what happens when they fail."""

import os
import sqlite3
import subprocess
import urllib.request
import zipfile

from lib import BIN, Proc, check, contains, equal, main, test, wait_for

NODE = """const left = require("left");
require("http").createServer((q, r) => r.end(left)).listen(process.env.PORT, "127.0.0.1");
"""


def get(w, name):
    with urllib.request.urlopen(w.saved_state()["services"][name]["url"].replace("localhost", "127.0.0.1"), timeout=30) as a:
        return a.read().decode()


def steps(w, service, *options):
    plan = w.envctl("explain-startup", "--json", *options, rc=0).json()["plan"]
    found = [s for s in plan["projects"][0]["services"] if s["name"] == service][0]
    return [(s["name"], s["skip_reason"] or "runs: " + s["reason"]) for s in found["prepare"]]


def left(w, answer):
    w.write("left/package.json", '{"name": "left", "version": "1.0.0", "main": "index.js"}\n')
    w.write("left/index.js", f'module.exports = "{answer}";\n')


@test
def packages_of_npm(w):
    left(w, "one")
    w.write(".gitignore", "node_modules\n")
    w.write("frontend/package.json", '{"scripts": {"dev": "node server.js"}, "dependencies": {"left": "file:../left"}}\n')
    w.write("frontend/server.js", NODE)
    w.configure(MAIN_BACKEND_ENABLE="false")
    w.commit()
    w.env["npm_config_cache"] = str(w.base / "npm")
    w.env["npm_config_audit"] = w.env["npm_config_fund"] = w.env["npm_config_update_notifier"] = "false"
    equal(steps(w, "frontend"), [("install", "runs: `node_modules` is missing")], "planned")
    check(not (w.repo / "frontend/node_modules").exists(), "looking installs nothing")
    out = w.start().err
    contains(out, "Main Frontend: preparing: install: npm install", "said")
    equal(get(w, "Main Frontend"), "one", "it has its package")
    w.stop_all()
    equal(steps(w, "frontend"), [("install", "nothing changed")], "once")
    check("preparing" not in w.start().err, "nothing to do")
    w.stop_all()
    # Now there is a lock file: what is taken away is put back from it.
    w.commit()
    w.run("rm", "-r", "frontend/node_modules", rc=0)
    equal(steps(w, "frontend", "--fast"), [("install", "runs: `node_modules` is missing")], "gone")
    contains(w.start().err, "install: npm ci", "from the lock file")
    equal(get(w, "Main Frontend"), "one", "it has its package again")
    w.stop_all()
    text = (w.repo / "frontend/package.json").read_text()
    w.write("frontend/package.json", text.replace("{", '{"private": true, ', 1))
    equal(steps(w, "frontend"), [("install", "runs: `package.json` changed")], "an input changed")
    equal(steps(w, "frontend", "--no-prepare"), [("install", "--no-prepare")], "left out")
    equal(w.git("status", "--porcelain").split(), ["M", "frontend/package.json"], "nothing else is in the way of git")


@test(timeout=200)
def a_virtual_environment(w):
    """One is made for a service with requirements.txt; `pip install -r` when that changed, from a directory of wheels."""
    w.env["PATH"] = "/usr/bin:/bin:" + w.env["PATH"]
    w.env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    for version in ("1.0", "2.0"):
        (w.base / "wheels").mkdir(exist_ok=True)
        with zipfile.ZipFile(w.base / f"wheels/greet-{version}-py3-none-any.whl", "w") as z:
            info = f"greet-{version}.dist-info"
            z.writestr("greet.py", f'TEXT = "greet {version}"\n')
            z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: greet\nVersion: {version}\n")
            z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            z.writestr(f"{info}/RECORD", f"greet.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    server = """import http.server, os, shutil, sys
import greet
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); 
        first = os.path.dirname(shutil.which("pip")) == os.environ["VIRTUAL_ENV"] + "/bin"
        self.wfile.write(f"{greet.TEXT} in {sys.prefix}, its programs first: {first}".encode())
if __name__ == "__main__":
    http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
"""
    w.write("backend/main.py", server)
    w.write("backend/requirements.txt", f"--no-index\n--find-links {w.base}/wheels\ngreet==1.0\n")
    w.write(".gitignore", "__pycache__\n")
    w.configure(MAIN_FRONTEND_ENABLE="false")
    w.commit()
    missing = "runs: `.venv/bin/activate` is missing"
    equal(steps(w, "backend"), [("venv", missing), ("install", missing)], "planned")
    check(not (w.repo / "backend/.venv").exists(), "looking makes nothing")
    prepared = w.start("--json", timeout=100).json()["prepared"]
    equal([(p["step"], p["status"]) for p in prepared], [("venv", "done"), ("install", "done")], "what was done")
    equal(get(w, "Main Backend"), f"greet 1.0 in {w.repo}/backend/.venv, its programs first: True", "what requirements.txt says")
    equal(w.git("status", "--porcelain"), "", "nothing is in the way of git")
    out = w.start().err
    contains(out, "Main Backend: already running", "a second start is content with the first")
    w.stop_all()
    equal(steps(w, "backend"), [("install", "nothing changed")], "once")
    prepared = w.start("--json").json()["prepared"]
    equal([(p["step"], p["status"], p["reason"]) for p in prepared], [("install", "skipped", "nothing changed")], "left out")
    w.stop_all()
    w.write("backend/requirements.txt", f"--no-index\n--find-links {w.base}/wheels\ngreet==2.0\n")
    equal(steps(w, "backend"), [("install", "runs: `requirements.txt` changed")], "changed")
    w.start(timeout=100)
    equal(get(w, "Main Backend"), f"greet 2.0 in {w.repo}/backend/.venv, its programs first: True", "now")
    w.stop_all()
    w.configure(MAIN_FRONTEND_ENABLE="false", ENVCTL_BACKEND_START_CMD="python main.py")
    w.start()
    contains(get(w, "Main Backend"), f"greet 2.0 in {w.repo}/backend/.venv", "a command that was given")
    w.stop_all()
    # What cannot be had: said with the end of what pip says, and nothing runs.
    w.write("backend/requirements.txt", f"--no-index\n--find-links {w.base}/wheels\ngreet==3.0\n")
    failed = w.start("--json", rc=1, timeout=100).json()["error"]
    equal(failed["code"], "prepare_failed", "code")
    contains(failed["message"], "Main Backend: install failed: `", "message")
    contains(failed["message"], "` exited with code 1 after", "message")
    contains("\n".join(failed["log_tail"]), "greet==3.0", "what pip says")
    contains(failed["hint"], "--no-prepare starts without it", "what to do")
    check(not w.state()["state"] or not any(s["live"] for s in w.state()["state"]["services"].values()), "nothing runs")
    w.start("--no-prepare")
    contains(get(w, "Main Backend"), "greet 2.0", "with what there is")
    w.stop_all()
    # One that somebody made, or that was not finished.
    w.write("backend/requirements.txt", f"--no-index\n--find-links {w.base}/wheels\ngreet==2.0\n")
    (w.repo / "backend/.venv/bin/activate").unlink()
    w.start(timeout=100)
    check((w.repo / "backend/.venv/bin/activate").exists(), "made whole")
    w.stop_all()
    w.run("rm", "-r", "backend/.venv", w.scope_dir() / "prepared", rc=0)
    w.start("--no-prepare", rc=1)
    check(not (w.repo / "backend/.venv").exists(), "and none is made when nothing is to be prepared")
    w.run("/usr/bin/python3", "-m", "venv", "backend/.venv", rc=0, timeout=100)
    equal(steps(w, "backend"), [("install", "`.venv/bin/python` exists")], "somebody has made one")
    equal(steps(w, "backend", "--refresh-cache"), [("install", "runs: --refresh-cache")], "asked for")


MANAGE = """import os, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
execute_from_command_line(sys.argv)
"""
SETTINGS = """DEBUG = True
SECRET_KEY = "not one"
ROOT_URLCONF = "site1.urls"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "%s"}}
"""
URLS = """from django.http import HttpResponse
from django.contrib.auth.models import User
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse("users: %d" % User.objects.count()))]
"""


@test
def migrations(w):
    w.env["PATH"] = "/usr/bin:/bin:" + w.env["PATH"]
    database = w.base / "db.sqlite3"
    w.write("backend/manage.py", MANAGE)
    w.write("backend/site1/__init__.py", "")
    w.write("backend/site1/settings.py", SETTINGS % database)
    w.write("backend/site1/urls.py", URLS)
    w.configure(MAIN_FRONTEND_ENABLE="false")
    w.commit()
    equal(steps(w, "backend"), [], "only when they are wanted")
    w.configure(MAIN_FRONTEND_ENABLE="false", ENVCTL_BACKEND_MIGRATIONS_ON_STARTUP="true")
    equal(steps(w, "backend"), [("migrate", "runs: runs at every start")], "wanted")
    w.start(timeout=100)
    equal(get(w, "Main Backend"), "users: 0", "the table is there")
    tables = {r[0] for r in sqlite3.connect(database).execute("select name from sqlite_master")}
    check("django_migrations" in tables, f"migrated: {tables}")
    w.stop_all()
    # A migration that fails is a warning, unless it is to be strict.
    w.write("backend/manage.py", "import sys\nassert 'migrate' not in sys.argv, 'no such revision'\n" + MANAGE)
    contains(w.start(rc=0).err, "Main Backend: warning: Main Backend: migrate failed: `", "said, and it goes on")
    w.stop_all()
    w.configure(MAIN_FRONTEND_ENABLE="false", ENVCTL_BACKEND_MIGRATIONS_ON_STARTUP="true", ENVCTL_BACKEND_BOOTSTRAP_STRICT="true")
    equal(w.start("--json", rc=1).json()["error"]["code"], "prepare_failed", "strict")


SCRIPT = """return {
  envctl = 1,
  services = {
    one = {
      dir = "app", command = "python3 -m http.server ${port} --bind 127.0.0.1",
      prepare = { { name = "build", command = "sh build.sh", inputs = { "input" } } },
    },
    two = {
      dir = "app", command = "python3 -m http.server ${port} --bind 127.0.0.1",
      prepare = { { name = "build", command = "sh build.sh", inputs = { "input" } },
                  { name = "greet", command = "echo $WHO >>greeted", shell = true } },
      env = { WHO = "you" },
    },
  },
  on = { prepare = function(ev, host) host.log("before " .. table.concat(ev.steps, " ")) end },
}
"""


def scripted(w, build):
    w.configure(MAIN_BACKEND_ENABLE="false", MAIN_FRONTEND_ENABLE="false")
    w.write(".envctl.lua", SCRIPT)
    w.write("app/build.sh", build)
    w.write("app/input", "1")
    w.commit()
    w.envctl("script", "trust", rc=0)


@test
def steps_of_a_script(w):
    scripted(w, "echo built >>built\n")
    w.env["WHO"] = "the shell"
    contains(w.start().err, "before one/build two/build two/greet\n", "the hook")
    equal((w.repo / "app/built").read_text(), "built\n", "what two services share runs once")
    equal((w.repo / "app/greeted").read_text(), "you\n", "with the variables of its service")
    w.stop_all()
    w.start()
    w.stop_all()
    equal((w.repo / "app/built").read_text(), "built\n", "its input is what it was")
    equal((w.repo / "app/greeted").read_text(), "you\nyou\n", "what has no input runs at every start")
    w.write("app/input", "2")
    w.write("app/build.sh", "echo one; echo two >&2; exit 3\n")
    failed = w.start(rc=1)
    contains(failed.err, "Main One: build failed: `sh build.sh` exited with code 3 after", "what")
    contains(failed.err, "    one\n    two\n", "what it printed")
    contains(w.envctl("explain-startup", rc=0).out, "build (sh build.sh) runs first: was interrupted", "not taken for done")
    w.write("app/build.sh", "exit 0\n")
    w.start()
    w.envctl("resume", "--headless", rc=0)
    equal((w.repo / "app/greeted").read_text(), "you\nyou\nyou\n", "a resume of what runs prepares nothing")


@test
def a_keeper_killed_while_preparing(w):
    scripted(w, "echo $$ >pid.new; mv pid.new pid.$$; if [ -e slow ]; then sleep 600; fi; echo built >>built\n")
    w.write("app/slow", "")

    def pids():
        return {int(p.name[4:]) for p in (w.repo / "app").glob("pid.[0-9]*")}

    def begin():
        null = subprocess.DEVNULL
        return w.spawn(BIN, "start", "--headless", stdin=null, stdout=null, stderr=null)

    client = begin()
    wait_for(pids, "the step to run")
    old = Proc(pids().pop())
    for keeper in w.keepers():
        keeper.signal(9)
    client.wait(60)
    (w.repo / "app/slow").unlink()
    w.start()
    check(not old.alive, "what the killed keeper left was ended first")
    equal((w.repo / "app/built").read_text(), "built\n", "and done again")
    # Given up by the user: its processes end with it.
    w.stop_all()
    w.write("app/slow", "")
    w.write("app/input", "2")
    before = pids()
    client = begin()
    wait_for(lambda: pids() - before, "the step to run again")
    step = Proc((pids() - before).pop())
    os.kill(client.pid, 2)
    equal(client.wait(60), 2, "interrupted")
    wait_for(lambda: not step.alive, "the step to end")


main()
