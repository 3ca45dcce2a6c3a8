#!/usr/bin/env python3
"""What envctl does with containers, where no daemon can run: a stand-in for docker (tests/fixtures/docker.py). What it says and does
wrong is in tests/lua/docker_test.lua; real containers are in test_deps_docker.py."""

import json
import shutil
import signal
import socket

from deps import Data, components, configure
from lib import BIN, PYTHON, SVC, TOP, Proc, check, contains, equal, listens, main, test, wait_for
from terminal import Pty


class Docker:
    """A daemon of a test's own, with everything in one directory."""

    def __init__(self, w):
        self.top = w.base / "docker"
        self.top.mkdir()
        w.write("../bin/docker", f'#!/bin/sh\nexec {PYTHON} -S -E {TOP}/tests/fixtures/docker.py {self.top} "$@"\n', 0o755)
        w.env["PATH"] = f"{w.base}/bin:{w.env['PATH']}"
        # All that is asked of the daemon itself is whether somebody listens.
        w.env["DOCKER_HOST"] = f"unix://{w.base}/docker.sock"
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(w.base / "docker.sock"))
        self.socket.listen(1000)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()

    def things(self, kind):
        folder = self.top / kind
        return [json.loads(p.read_text()) for p in sorted(folder.iterdir())] if folder.exists() else []

    def projects(self, kind):
        """Whose containers, volumes or networks there are."""
        return sorted(label.split("=")[1] for t in self.things(kind) for label in t["labels"] if label.startswith("envctl.project="))

    def calls(self):
        return [json.loads(line) for line in (self.top / "calls").read_text().splitlines()]


@test(timeout=120)
def a_worktree_takes_its_containers_along(w):
    with Data(w), Docker(w) as docker:
        configure(w, postgres=False, mode="TREES", TREES_BACKEND_ENABLE=False, ENVCTL_REDIS_PROVIDER="docker")
        for n in ("1", "2"):
            w.git("worktree", "add", "-q", "-b", f"shop-{n}", str(w.repo / f"trees/shop/{n}"))
        w.start("--trees", "--all")
        equal(docker.projects("container"), ["shop-1", "shop-2"], "containers")
        contains(w.envctl("delete-worktree", "shop-1", "--dry-run", rc=0).out, "The data of shop-1/redis (", "foretold")
        gone = w.envctl("delete-worktree", "shop-1", "--headless", rc=0)
        contains(gone.out, "stays; `envctl data reset redis --project shop-1` deletes it", "what is left is said")
        equal(docker.projects("container"), ["shop-2"], "its container goes")
        equal(docker.projects("volume"), ["shop-1", "shop-2"], "its data does not")
        w.stop_all()
        # Of one that was stopped before as well.
        kept = w.envctl("delete-worktree", "shop-2", "--headless", "--json", rc=0).json()["data_kept"]
        check(len(kept) == 1 and kept[0].startswith("shop-2/redis ("), f"said: {kept}")
        equal(docker.projects("container"), [], "containers")
        w.envctl("data", "reset", "redis", "--project", "shop-1", "--yes", rc=0)
        equal(docker.projects("volume"), ["shop-2"], "when it is asked for")


@test(timeout=120)
def a_container_that_nobody_can_reach(w):
    """It runs, but whoever published its port has died."""
    with Data(w), Docker(w) as docker:
        configure(w, postgres=False, MAIN_BACKEND_ENABLE=False, ENVCTL_REDIS_PROVIDER="docker")
        w.start()
        part = components(w.saved_state())["redis"]
        port = part["final"]
        Proc(part["pid"]).signal(signal.SIGUSR1)
        wait_for(lambda: not listens(port), "the port to be lost")
        check(Proc(part["pid"]).alive, "it runs")
        sick = w.envctl("health", "--json", rc=1).json()["dependencies"][0]
        equal((sick["status"], sick["live"]), ("unreachable", True), "health")
        contains(sick["reason"], f"nothing listens on port {port}", "why")
        plan = w.envctl("explain-startup", "--json", rc=0).json()["plan"]["projects"][0]["dependencies"][0]
        equal(plan["action"], "restart", "what would be done")
        w.start()
        now = components(w.saved_state())["redis"]
        check(listens(port), "it can be reached again")
        equal((now["final"], now["container_id"], len(docker.things("volume"))), (port, part["container_id"], 1), "nothing else changed")


@test(timeout=120)
def nothing_that_is_started_reads_the_terminal(w):
    """Every kind of child, started from a terminal: a key that is pressed there is nobody's but envctl's."""
    with Data(w), Docker(w) as docker:
        seen = w.base / "seen"
        seen.mkdir()

        def spy(name):
            return f"readlink /proc/$$/fd/0 >>{seen}/{name}"

        w.write("../bin/git", f'#!/bin/sh\n{spy("git")}\nexec {shutil.which("git")} "$@"\n', 0o755)
        serve = f"exec {PYTHON} -S -E {SVC} --port"
        w.write(".envctl.lua", f"""return {{ envctl = 1,
  services = {{ api = {{
    command = "{spy('service')}; {serve} ${{port}}", shell = true, port = {w.port},
    prepare = {{ {{ name = "build", command = "{spy('step')}", shell = true }} }},
    ready = {{ command = {{ "sh", "-c", "{spy('probe')}" }} }},
  }} }},
  dependencies = {{ mail = {{ command = {{ "sh", "-c", "{spy('dependency')}; {serve} ${{port}}" }}, ports = {{ http = {w.port + 50} }} }} }},
  on = {{ ["project.created"] = function(ev, host) host.run {{ "sh", "-c", "{spy('hook')}" }} end }},
}}
""")
        w.write("todo/plans/web/x.md", "# X\n")
        configure(w, postgres=False, mode="TREES", TREES_BACKEND_ENABLE=False, ENVCTL_REDIS_PROVIDER="docker")
        w.envctl("script", "trust", rc=0)
        for command in (["--plan", "web/x"], ["delete-worktree", "web_x-1", "--force", "--yes"]):
            terminal = Pty(w, BIN, *command)
            try:
                equal(terminal.wait(60), 0, f"{command}: {terminal.bytes.decode(errors='replace')}")
                for p in w.processes():
                    check("/dev/pts" not in p.fds().get(0, ""), f"{p} has the terminal as its input")
            finally:
                terminal.close()
        inputs = {f.name: set(f.read_text().split()) for f in seen.iterdir()}
        inputs["docker"] = {call["stdin"] for call in docker.calls()}
        equal(sorted(inputs), ["dependency", "docker", "git", "hook", "probe", "service", "step"], "who was started")
        for name, found in inputs.items():
            check(all(i == "/dev/null" or i.startswith("pipe:") for i in found), f"{name} reads {found}")


main()
