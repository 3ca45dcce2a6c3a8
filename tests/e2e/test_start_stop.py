#!/usr/bin/env python3
"""The main road: preview, start, look, stop, and again. On the example shop and on services of our own making."""

import json
import os
import re
import signal
import urllib.request
from pathlib import Path

from lib import BIN, Proc, check, contains, equal, listens, main, owner_of, test, wait_for


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.status, answer.read()


@test
def shop_starts_answers_stops_and_starts_again(w):
    w.shop()
    digests = []
    for _ in range(2):
        plan = w.envctl("explain-startup", "--json", rc=0).json()
        equal(plan["decision"], "start_fresh", "decision")
        result = w.envctl("--headless", rc=0)
        state = w.saved_state()
        equal(state["plan_digest"], plan["plan"]["digest"], "digest of what was previewed and of what was done")
        digests.append(plan["plan"]["digest"])

        shown = w.state()
        equal(shown["found"], True, "found")
        services = shown["state"]["services"]
        equal(sorted(services), ["Main Backend", "Main Frontend"], "services")
        for name, service in services.items():
            equal((service["status"], service["live"]), ("ready", True), f"{name}: status and live")
            contains(result.out + result.err, str(service["actual_port"]), "ports in what start prints")
        backend, frontend = services["Main Backend"]["url"], services["Main Frontend"]["url"]
        equal(get(backend + "/healthz"), (200, b'{"ok": true}\n'), "backend")
        check(b"<title>The shop</title>" in get(frontend + "/")[1], "the frontend serves its page")
        # The frontend knows the backend's real port.
        check(json.loads(get(frontend + "/api/products")[1])["products"], "the frontend reaches the backend")

        stopped = w.envctl("stop-all", "--json", rc=0).json()
        equal([s["stopped"] for s in stopped["stopped"]], [True, True], "stopped")
        w.gone()
        equal(w.envctl("show-state", "--json", rc=1).json()["found"], False, "found after stop-all")
    equal(digests[0], digests[1], "the same repository has the same plan")


@test
def what_runs_is_what_the_state_says(w):
    w.services(backend=f"--dump-fds {w.base}/backend.fds", frontend=f"--dump-fds {w.base}/frontend.fds")
    w.start(env={"GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/nowhere", "LUA_INIT": "error()", "LD_BIND_NOW": "1", "APP": "kept"})
    state = w.saved_state()
    keeper = w.keepers()
    equal(len(keeper), 1, "keepers")
    equal(state["keeper"]["pid"], keeper[0].pid, "keeper's pid")
    equal(state["keeper"]["start_time_ticks"], keeper[0].start, "keeper's start time")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    for name, service in state["services"].items():
        p = Proc(service["pid"])
        equal(service["identity"]["pid"], p.pid, f"{name}: identity")
        equal(service["identity"]["start_time_ticks"], p.start, f"{name}: start time")
        equal(service["identity"]["boot_id"], boot, f"{name}: boot id")
        equal(service["listener_pids"], [p.pid], f"{name}: listeners")
        check(owner_of(service["actual_port"], [p]), f"{name} listens on {service['actual_port']}")
        equal(p.cwd(), str(w.repo / name.split()[1].lower()), f"{name}: working directory")
        # It leads a session of its own, reads nothing of ours, and holds none of our files or sockets.
        equal(service["identity"]["session_id"], p.pid, f"{name}: session")
        dump = (w.base / f"{name.split()[1].lower()}.fds").read_text(encoding="utf-8").splitlines()
        fds = {line.split(" ", 2)[1]: line.split(" ", 2)[2] for line in dump if line.startswith("fd ")}
        log = service["log_path"]
        equal(fds, {"0": "/dev/null", "1": log, "2": log}, f"{name}: inherited descriptors")
        for bad in ("GIT_DIR", "GIT_INDEX_FILE", "LUA_INIT", "LD_BIND_NOW"):
            check(f"env {bad}" not in dump, f"{name} inherited {bad}")
        check("env APP" in dump, f"{name} lost the user's own variables")
    runtime_map = json.loads((w.scope_dir() / "runtime_map.json").read_text(encoding="utf-8"))
    for name, service in state["services"].items():
        equal(runtime_map["service_to_actual_port"][name], service["actual_port"], "runtime_map")


@test
def artifacts_are_private_and_complete(w):
    w.services(backend="", frontend="")
    w.start()
    scope = w.scope_dir()
    equal(oct(w.runtime.stat().st_mode & 0o777), "0o700", "mode of the runtime root")
    equal(oct(scope.stat().st_mode & 0o777), "0o700", "mode of the scope")
    equal((w.runtime / "python-engine").resolve(), (w.runtime / "engine").resolve(), "compatibility link")
    run_id = w.saved_state()["run_id"]
    check(re.fullmatch(r"run-\d{14}-[0-9a-f]{8}", run_id), f"run id {run_id}")
    for name in ("run_state", "runtime_map", "ports_manifest", "error_report"):
        for directory in (scope, scope / "runs" / run_id):
            path = directory / f"{name}.json"
            text = path.read_text(encoding="utf-8")
            document = json.loads(text)
            equal(document["schema"], f"envctl.{name}.v1", str(path))
            check(text.endswith("}\n"), f"{path} ends with a newline")
            equal(oct(path.stat().st_mode & 0o077), "0o0", f"others' rights on {path}")
    names = [e["event"] for e in w.events()]
    for wanted in ("startup.begin", "service.start", "service.ready", "startup.done"):
        check(wanted in names, f"event {wanted} among {names}")
    sequence = [e["seq"] for e in w.events()]
    equal(sequence, sorted(set(sequence)), "seq grows")


@test
def a_second_start_keeps_what_runs(w):
    w.services(backend="", frontend="")
    w.start()
    before = {n: s["pid"] for n, s in w.saved_state()["services"].items()}
    run_id = w.saved_state()["run_id"]
    explained = w.envctl("explain-startup", "--json", rc=0).json()
    equal({a["action"] for a in explained["plan"]["actions"]}, {"keep"}, "actions")
    w.start()
    after = w.saved_state()
    equal({n: s["pid"] for n, s in after["services"].items()}, before, "pids")
    equal(after["run_id"], run_id, "run id")


@test
def one_service_stops_and_comes_back_alone(w):
    w.services(backend="", frontend="")
    w.start()
    pids = {n: s["pid"] for n, s in w.saved_state()["services"].items()}
    ports = {n: s["actual_port"] for n, s in w.saved_state()["services"].items()}
    w.envctl("stop", "--service", "frontend", rc=0)
    check(not listens(ports["Main Frontend"]), "the frontend's port is free")
    equal(sorted(w.saved_state()["services"]), ["Main Backend"], "services after stop")
    # A start that fails leaves the other one running and recorded.
    w.services(backend="", frontend="--exit 3")
    w.envctl("start", "--headless", rc=1)
    shown = w.state()["state"]["services"]
    equal((shown["Main Backend"]["pid"], shown["Main Backend"]["live"]), (pids["Main Backend"], True), "the backend after a failed start")
    equal(shown["Main Frontend"]["exit"]["code"], 3, "how the frontend ended")
    w.services(backend="", frontend="")
    w.start()
    state = w.saved_state()["services"]
    equal(state["Main Backend"]["pid"], pids["Main Backend"], "the backend was left alone")
    check(state["Main Frontend"]["pid"] != pids["Main Frontend"], "the frontend is a new process")
    equal(state["Main Frontend"]["actual_port"], ports["Main Frontend"], "on its old port")
    w.envctl("stop", rc=0)
    w.gone()


@test
def a_changed_command_restarts_only_its_service(w):
    w.services(backend="", frontend="")
    w.start()
    before = {n: s["pid"] for n, s in w.saved_state()["services"].items()}
    w.services(backend="", frontend="--say changed")
    explained = w.envctl("explain-startup", "--json", rc=0).json()
    actions = {a["service"]: a["action"] for a in explained["plan"]["actions"]}
    equal(actions, {"backend": "keep", "frontend": "restart"}, "actions")
    w.start()
    after = {n: s["pid"] for n, s in w.saved_state()["services"].items()}
    equal(after["Main Backend"], before["Main Backend"], "backend's pid")
    check(after["Main Frontend"] != before["Main Frontend"], "the frontend was restarted")


@test
def an_exit_is_recorded_with_its_code(w):
    w.services(backend="", frontend="")
    w.start()
    for name, number, wanted in (("Main Backend", signal.SIGTERM, (0, None)), ("Main Frontend", signal.SIGSEGV, (None, "SEGV"))):
        os.kill(w.saved_state()["services"][name]["pid"], number)

        def ended():
            state = w.saved_state()["services"][name]
            return state["status"] == "exited" and state

        state = wait_for(ended, f"{name} to be recorded as exited")
        equal((state["exit"]["code"], state["exit"]["signal"]), wanted, f"{name}: exit")


@test
def what_is_switched_off_is_a_choice(w):
    w.configure(MAIN_BACKEND_ENABLE=False, MAIN_FRONTEND_ENABLE=False)
    result = w.start()
    contains(result.out, "Nothing to start: Main/backend: switched off by MAIN_BACKEND_ENABLE", "what start says")
    document = w.start("--json").json()
    equal((document["services"], document["ok"]), ([], True), "what start --json says")
    equal(w.processes(), [], "processes")


@test
def json_is_one_document_on_stdout(w):
    w.services(backend="", frontend="")
    for command in (
        ["explain-startup", "--json"],
        ["start", "--headless", "--json"],
        ["show-state", "--json"],
        ["list-targets", "--json"],
        ["show-config", "--json"],
        ["logs", "--all", "--json"],
        ["stop-all", "--json"],
    ):
        result = w.envctl(*command, rc=0)
        document = result.json()
        check(document["schema"].startswith("envctl."), f"schema of {command}")
        equal(result.out, json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n", f"canonical form of {command}")


@test
def version_and_commands(w):
    check(re.fullmatch(r"envctl \d+\.\d+\.\d+\n", w.envctl("--version", rc=0).out), "version")
    commands = w.envctl("list-commands", rc=0).out.split()
    for name in ("start", "stop", "stop-all", "logs", "show-state", "show-config", "explain-startup", "list-targets"):
        check(name in commands, f"{name} in list-commands")
    equal(w.envctl("--list-commands", rc=0).out.split(), commands, "the dashed form says the same")
    contains(w.envctl("help", rc=0).out, "explain-startup", "help")
    check(not w.runtime.exists(), "looking creates nothing")
    check(BIN.startswith("/"), "an absolute path")


if __name__ == "__main__":
    main()
