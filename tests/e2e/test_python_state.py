#!/usr/bin/env python3
"""What the Python engine left: its run_state.json is shown, its services are stopped where it is proven that they are its
services, and what cannot be proven is left alone. The file itself is never changed: it is set aside in the end."""

import hashlib
import json
import os
import subprocess

from lib import PYTHON, SVC, TOP, check, contains, equal, listens, main, test, wait_for

GOLDEN = json.loads((TOP / "tests/fixtures/golden/documents.json").read_text())["webapp/start-artifacts/run_state"]["document"]
RUN = "run-20261122060653-41ca6322"


class Left:
    """A run of the Python engine, with services of our own making. `place` is its directory below the runtime root."""

    def __init__(self, w, place="python-engine"):
        scope = "repo-" + hashlib.sha256(str(w.repo).encode()).hexdigest()[:12]
        self.w, self.dir = w, w.runtime / place / scope
        self.logs = self.dir / "runs" / RUN
        self.logs.mkdir(parents=True)
        w.runtime.chmod(0o700)
        self.file = self.dir / "run_state.json"
        self.state = {**GOLDEN, "run_id": RUN, "services": {}}
        w.allow_left += [f"{place}(/.*)?", r"engine/repo-[0-9a-f]{12}/runs/run-[^/]+"]

    def service(self, kind, offset, logs=True):
        """Starts one as the engine does: in the engine's session, its output appended to the log. Returns the process."""
        cwd, port = self.w.repo / kind, self.w.port + offset
        cwd.mkdir(exist_ok=True)
        with open(self.logs / f"Main_{kind}.txt" if logs else os.devnull, "ab") as out:
            p = self.w.spawn(PYTHON, "-S", "-E", SVC, "--port", port, cwd=cwd, stdout=out, stderr=out)
        wait_for(lambda: listens(port), f"port {port}")
        self.record(kind, port, p.pid)
        return p

    def record(self, kind, port, pid):
        self.state["services"][f"Main {kind.title()}"] = {
            "actual_port": port, "cwd": str(self.w.repo / kind), "listener_pids": [pid], "pid": pid, "requested_port": port,
            "log_path": f"/elsewhere/{RUN}/Main_{kind}.txt", "started_at": 1795327613.8581269, "status": "running",
            "synthetic": False, "type": kind,
        }
        self.file.write_text(json.dumps(self.state, indent=2, sort_keys=True))

    def set_aside(self):
        return sorted(self.dir.glob("run_state.json.python-*"))


def shown(w):
    return {name: (s["live"], s["status"]) for name, s in w.state()["state"]["services"].items()}


def reader(w, left):
    """Somebody who only looks at a log."""
    return w.spawn("tail", "-f", left.logs / "Main_backend.txt", stdout=subprocess.DEVNULL)


def end(*processes):
    for p in processes:
        p.kill()
        p.wait()


@test
def is_shown_and_stopped(w):
    w.services()
    left = Left(w)
    services = [left.service("backend", 0), left.service("frontend", 10)]
    stranger = reader(w, left)
    before = left.file.read_bytes()
    equal(shown(w), {"Main Backend": (True, "running"), "Main Frontend": (True, "running")}, "what is shown")
    document = w.state()
    equal(document["run_state_path"], str(left.file), "where it was found")
    equal(document["state"]["requirements"], {}, "dependencies (all of them disabled)")
    contains(w.envctl("show-state", rc=0).out, "written by: the Python engine", "show-state")
    check(not (w.runtime / "engine").exists(), "showing makes nothing")
    result = w.envctl("stop-all", "--json", rc=0).json()
    equal([(s["name"], s["stopped"], s["was_alive"]) for s in result["stopped"]],
          [("Main Backend", True, True), ("Main Frontend", True, True)], "stopped")
    for p in services:
        p.wait(60)
    check(stranger.poll() is None, "a reader of the log lives")
    equal([p.read_bytes() for p in left.set_aside()], [before], "the file, set aside")
    check(not left.file.exists(), "it is not where it was")
    w.envctl("show-state", rc=1)
    end(stranger)


@test
def in_our_own_place(w):
    """The engine followed the compatibility link: its file is where ours would be."""
    w.services(backend="", frontend="")
    left = Left(w, "engine")
    (w.runtime / "python-engine").symlink_to("engine")
    backend, frontend = left.service("backend", 0), left.service("frontend", 10)
    before = left.file.read_bytes()
    equal(shown(w), {"Main Backend": (True, "running"), "Main Frontend": (True, "running")}, "what is shown")
    for command in (["start", "--headless"], ["resume"]):
        error = w.envctl(*command, "--json", rc=1).error()
        equal(error["code"], "state_unreadable", f"{command}: code")
        contains(error["message"], "Python engine", f"{command}: message")
    w.envctl("stop", "--service", "backend", rc=0)
    backend.wait(60)
    check(frontend.poll() is None, "the other service lives")
    equal(left.file.read_bytes(), before, "the file, which others read")
    equal(shown(w), {"Main Backend": (False, "exited"), "Main Frontend": (True, "running")}, "what is shown")
    w.envctl("stop", "--all", rc=0)
    frontend.wait(60)
    equal([p.read_bytes() for p in left.set_aside()], [before], "the file, set aside")
    w.start()


@test
def what_cannot_be_proven_is_left_alone(w):
    w.services()
    left = Left(w)
    silent, proven = left.service("backend", 0, logs=False), left.service("frontend", 10)
    equal(shown(w), {"Main Backend": (None, "unknown"), "Main Frontend": (True, "running")}, "what is shown")
    error = w.envctl("stop-all", "--json", rc=1).error()
    equal(error["code"], "not_stopped", "code")
    contains(error["message"], f"pid {silent.pid}", "message")
    proven.wait(60)
    check(silent.poll() is None, "the one in doubt lives")
    check(left.file.exists(), "the file stays where it is")
    end(silent)
    w.envctl("stop-all", rc=0)
    check(left.set_aside(), "the file was set aside")


@test
def a_pid_that_is_somebody_elses_now(w):
    w.services()
    left = Left(w)
    stranger = w.spawn("sleep", "600", cwd="/")
    left.record("backend", w.port, stranger.pid)
    left.record("frontend", w.port + 10, 2**22 - 1)
    equal(shown(w), {"Main Backend": (False, "exited"), "Main Frontend": (False, "exited")}, "what is shown")
    w.envctl("stop-all", rc=0)
    check(stranger.poll() is None, "the stranger lives")
    end(stranger)


@test
def an_engine_that_still_runs(w):
    """It has the logs open as well, and everything it runs below it."""
    w.services()
    left = Left(w)
    (w.repo / "backend").mkdir()
    code = ("import subprocess, sys\nlog = open(sys.argv[1], 'ab')\n"
            "p = subprocess.Popen(sys.argv[2:], stdout=log, stderr=log)\nprint(p.pid, flush=True)\np.wait()")
    engine = w.spawn(PYTHON, "-S", "-c", code, left.logs / "Main_backend.txt", PYTHON, "-S", "-E", SVC, "--port", w.port,
                     cwd=w.repo / "backend", stdout=subprocess.PIPE)
    with engine.stdout:
        left.record("backend", w.port, int(engine.stdout.readline()))
    wait_for(lambda: listens(w.port), "the service")
    error = w.envctl("stop-all", "--json", rc=1).error()
    contains(error["message"], f"still runs as pid {engine.pid}", "message")
    check(engine.poll() is None and listens(w.port), "engine and service live")
    end(engine)
    w.envctl("stop-all", rc=0)
    check(not listens(w.port), "the service ended")


@test
def a_file_that_somebody_planted(w):
    """A link in the place of a directory or of the file is not followed."""
    w.services()
    left = Left(w)
    p = left.service("backend", 0)
    elsewhere = w.base / "elsewhere"
    left.file.rename(elsewhere)
    left.file.symlink_to(elsewhere)
    w.envctl("show-state", rc=1)
    w.envctl("stop-all", rc=0)
    check(p.poll() is None, "nothing was stopped")
    end(p)


if __name__ == "__main__":
    main()
