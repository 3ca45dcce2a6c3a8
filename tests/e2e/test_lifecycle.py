#!/usr/bin/env python3
"""restart, resume, restart policies, health, errors, wait: the truth about what runs after something happened to it."""

import json
import signal
import subprocess

from lib import BIN, Proc, check, contains, equal, main, stranger, test, wait_for


def record(w, name):
    return w.saved_state()["services"][name]


def kill(w, name):
    """Ends a service's leader behind envctl's back."""
    pid = record(w, name)["pid"]
    Proc(pid).signal(signal.SIGKILL)
    wait_for(lambda: record(w, name)["status"] != "ready" or record(w, name)["pid"] != pid, f"{name}'s end to be seen")
    return pid


@test
def restart_of_one_service_leaves_the_other_alone(w):
    w.services(backend="", frontend="")
    w.start()
    before = {n: (record(w, n)["pid"], record(w, n)["actual_port"]) for n in ("Main Backend", "Main Frontend")}
    done = w.envctl("restart", "--service", "frontend", "--json", rc=0).json()
    equal(done["schema"], "envctl.restart.v1", "schema")
    after = {n: (record(w, n)["pid"], record(w, n)["actual_port"]) for n in ("Main Backend", "Main Frontend")}
    equal(after["Main Backend"], before["Main Backend"], "the backend")
    check(after["Main Frontend"][0] != before["Main Frontend"][0], "the frontend is a new process")
    equal(after["Main Frontend"][1], before["Main Frontend"][1], "the frontend's port")


@test
def restart_names_what_it_does_not_know(w):
    w.services(backend="")
    w.start()
    pid = record(w, "Main Backend")["pid"]
    error = w.envctl("restart", "--service", "bakend", "--json", rc=1).json()["error"]
    equal(error["code"], "unknown_target", "code")
    equal(record(w, "Main Backend")["pid"], pid, "nothing was touched")


@test
def a_restart_that_has_to_move_tells_the_others(w):
    """The backend is dead, and a stranger has its port: the frontend, which runs, is not left with the stranger's address."""
    w.services(backend="", frontend="")
    w.start()
    kill(w, "Main Backend")
    stranger(w, w.port)
    said = w.envctl("restart", "--service", "backend", rc=0).err
    contains(said, f"port {w.port} of Main/backend is held by pid ", "who has it")
    url = f"http://localhost:{w.port + 1}"
    contains(said, f"changed: Main/frontend env.VITE_BACKEND_URL: http://localhost:{w.port} -> {url}", "what changed")
    equal({n: record(w, n)["actual_port"] for n in ("Main Backend", "Main Frontend")},
          {"Main Backend": w.port + 1, "Main Frontend": w.port + 11}, "ports")
    equal(Proc(record(w, "Main Frontend")["pid"]).environ()["VITE_BACKEND_URL"], url, "what the frontend is told")
    runtime_map = json.loads((w.scope_dir() / "runtime_map.json").read_text(encoding="utf-8"))
    equal(runtime_map["projection"]["Main"]["backend_url"], url, "the runtime map")


@test
def no_resume_replaces_everything(w):
    w.services(backend="", frontend="")
    w.start()
    old = w.service_processes()
    said = w.start("--no-resume").err
    check(said.rindex("stopped") < said.index("starting"), f"the old ones end first:\n{said}")
    check(not any(p.alive for p in old), "the old ones are gone")
    equal(sorted(p.pid for p in w.service_processes()), sorted(s["pid"] for s in w.saved_state()["services"].values()), "one copy")


@test
def resume_with_all_alive_changes_nothing(w):
    w.services(backend="", frontend="")
    w.start()
    before = {n: s["pid"] for n, s in w.saved_state()["services"].items()}
    done = w.envctl("--headless", "--resume", "--json", rc=0).json()
    equal(done["started"], 0, "started")
    equal({n: s["pid"] for n, s in w.saved_state()["services"].items()}, before, "pids")


@test
def resume_brings_back_only_what_is_missing(w):
    w.services(backend="", frontend="")
    w.start()
    backend, port = record(w, "Main Backend")["pid"], record(w, "Main Frontend")["actual_port"]
    kill(w, "Main Frontend")
    explained = w.envctl("explain-startup", "resume", "--json", rc=0).json()
    actions = {a["service"]: a["action"] for a in explained["plan"]["actions"]}
    equal(actions, {"backend": "keep", "frontend": "start"}, "the explained actions")
    said = w.envctl("--headless", "--resume", rc=0)
    contains(said.err, "Main Frontend: start", "what it did")
    contains(said.err, "Main Backend: keep", "what it left")
    equal(record(w, "Main Backend")["pid"], backend, "the backend's pid")
    equal(record(w, "Main Frontend")["actual_port"], port, "the frontend's port")
    equal(w.state()["state"]["services"]["Main Frontend"]["live"], True, "the frontend lives")


@test
def resume_that_only_looks(w):
    w.services(backend="")
    w.start()
    kill(w, "Main Backend")
    said = w.envctl("--headless", "--resume", "--skip-startup", rc=0)
    contains(said.out, "Main Backend: exited", "the status")
    equal(w.service_processes(), [], "nothing was started")


@test
def resume_without_state(w):
    w.services(backend="")
    error = w.envctl("--resume", "--json", rc=1).json()["error"]
    equal(error["code"], "state_missing", "code")


@test
def health_and_errors_tell_the_truth(w):
    w.services(backend="--say hello", frontend="")
    w.start()
    healthy = w.envctl("health", "--json", rc=0).json()
    equal(healthy["status_counts"], {"ok": 2, "warn": 0, "bad": 0}, "counts")
    contains(w.envctl("errors", rc=0).out, "No known service errors", "no errors")
    equal(w.envctl("wait", "--ready", "--json", rc=0).json()["ready"], ["Main Backend", "Main Frontend"], "ready")
    # One that runs, and writes into its log that something went wrong.
    log = record(w, "Main Frontend")["log_path"]
    with open(log, "a", encoding="utf-8") as f:
        f.write("Traceback (most recent call last):\n  File \"app.py\", line 3\nValueError: no such thing\n")
    found = w.envctl("errors", "--json", rc=1).json()
    lines = ["Traceback (most recent call last):", "ValueError: no such thing"]
    equal(found["log_issues"], [{"name": "Main Frontend", "count": 2, "lines": lines, "log_path": log}], "errors in logs")
    equal((found["ok"], found["failed_services"]), (False, []), "nothing failed")
    contains(w.envctl("errors", rc=1).out, "Main Frontend: errors in its log (2)", "the text")
    w.envctl("errors", "--service", "backend", rc=0)
    w.envctl("health", rc=0)
    kill(w, "Main Backend")
    sick = w.envctl("health", "--json", rc=1).json()
    equal(sick["issues"]["failing_services"], ["Main Backend"], "failing")
    equal(w.envctl("health", "--service", "frontend", rc=0).rc, 0, "the other one is fine")
    errors = w.envctl("errors", "--json", rc=1).json()
    equal(errors["failed_services"], ["Main Backend"], "failed")
    contains(errors["recent_failures"][0]["message"], "SIGKILL", "how it ended")
    contains("\n".join(errors["recent_failures"][0]["log_tail"]), "hello", "the end of its log")
    error = w.envctl("wait", "--ready", "--timeout", "600", "--json", rc=1).error()
    equal((error["code"], error["where"]), ("service_not_ready", "Main/backend"), "wait does not wait for what will not come")
    contains(error["message"], "Main Backend has ended, and nothing starts it again", "and says so")


IN_STEPS = """return {
  envctl = 1,
  services = {
    first = {
      command = "sleep 600", listens = false,
      prepare = { { name = "wait", command = "touch preparing; until [ -e prepared ]; do sleep 0.02; done", shell = true } },
    },
    second = { command = "until [ -e go ]; do sleep 0.02; done; echo up; exec sleep 600", shell = true, listens = false,
      needs = { "first" }, ready = { log = "up" } },
    third = { command = "sleep 600", listens = false, needs = { "second" } },
    other = { command = "sleep 600", listens = false },
  },
}
"""


@test(timeout=90)
def wait_is_not_over_before_the_start_is(w):
    """What is ready of a start that has not come to its end is not all of it."""
    w.configure(MAIN_BACKEND_ENABLE="false", MAIN_FRONTEND_ENABLE="false")
    w.write(".envctl.lua", IN_STEPS)
    w.write(".gitignore", "prepar*\ngo\n")
    w.commit()
    w.envctl("script", "trust", rc=0)
    equal(w.envctl("wait", "--json", rc=1).error()["code"], "state_missing", "nobody is at work")
    client = w.spawn(BIN, "start", "--headless", "--service", "third", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: (w.repo / "preparing").exists(), "the start to be at work")
    error = w.envctl("wait", "--timeout", "0.2", "--json", rc=1).error()
    equal(error["code"], "service_not_ready", "while it prepares, nothing is there yet")
    contains(error["message"], f"start by pid {client.pid} is still at work", "who")
    w.write("prepared", "")
    wait_for(lambda: "Main Second" in (w.saved_state() or {}).get("services", {}), "the second layer")
    for names in ([], ["--service", "first"], ["--service", "third"]):
        error = w.envctl("wait", "--timeout", "0.2", *names, "--json", rc=1).error()
        equal(error["code"], "service_not_ready", f"the first layer is ready, the last is not begun {names}")
    waiting = w.spawn(BIN, "wait", "--ready", "--json", "--timeout", "60", stdout=subprocess.PIPE)
    w.write("go", "")
    equal(json.loads(waiting.communicate()[0])["ready"], ["Main First", "Main Second", "Main Third"], "all of it")
    equal(client.wait(), 0, "the start, of what third needs and of nothing else")
    equal(w.envctl("stop", "--service", "other", "--json", rc=1).error()["message"], 'service "other" is not running', "said")
    w.envctl("stop", "--service", "third", rc=0)
    error = w.envctl("wait", "--service", "third", "--json", rc=1).error()
    equal(error["code"], "unknown_target", "nobody is at work on it")
    again = w.envctl("restart", "--service", "first", "--json", rc=0).json()
    equal(again["started"], 1, "a restart is of nothing else")


@test
def clear_logs_empties_and_the_service_goes_on(w):
    w.services(backend="--say first --tick 0.02")
    w.start()
    log = record(w, "Main Backend")["log_path"]
    planned = w.envctl("clear-logs", "--dry-run", "--json", rc=0).json()
    check(planned["cleared"][0]["bytes"] > 0, "there is something to clear")
    contains(open(log, encoding="utf-8").read(), "first", "a dry run leaves it")
    w.envctl("clear-logs", rc=0)
    check("first" not in open(log, encoding="utf-8").read(), "the old lines are gone")
    wait_for(lambda: open(log, encoding="utf-8").read(), "new lines")


@test
def a_policy_brings_a_service_back(w):
    w.services(backend="", extra="ENVCTL_BACKEND_RESTART=on-failure\n")
    w.start()
    port = record(w, "Main Backend")["actual_port"]
    first = kill(w, "Main Backend")
    wait_for(lambda: record(w, "Main Backend")["pid"] != first and record(w, "Main Backend")["status"] == "ready", "it to be back")
    equal(record(w, "Main Backend")["actual_port"], port, "its port")
    equal(record(w, "Main Backend")["restarts"], 1, "restarts")
    check("service.restart" in [e["event"] for e in w.events()], "the event")


@test
def a_repository_that_was_moved_while_it_runs(w):
    w.services(backend="", frontend="")
    w.start()
    pids = [record(w, f"Main {name}")["pid"] for name in ("Backend", "Frontend")]
    there, other = w.base / "there", w.base / "other"
    subprocess.run(["git", "init", "-q", str(other)], env=w.env, check=True)
    # A directory that went into another repository is no move of a repository: what runs there is not that one's to end.
    (w.repo / "backend").rename(other / "backend")
    w.envctl("stop-all", cwd=other, rc=0)
    check(Proc.quick(pids[0]), "still somebody else's")
    (other / "backend").rename(w.repo / "backend")
    w.repo.rename(there)
    try:
        said = w.envctl("show-state", cwd=there, rc=1).err
        contains(said, f"moved from {w.repo} while this ran, and it goes on: Main Backend, Main Frontend", "what goes on")
        shown = w.envctl("explain-startup", "--json", cwd=there, rc=0).json()
        check("repository_moved" in [n["code"] for n in shown["notices"]], "before a start as well")
        contains(w.envctl("stop-all", "--dry-run", cwd=there, rc=0).err, "Main Backend, Main Frontend", "what would be done")
        check(all(Proc.quick(pid) for pid in pids), "and is not")
        stopped = w.envctl("stop-all", "--json", cwd=there, rc=0).json()["stopped"]
        equal(sorted(s["name"] for s in stopped), ["Main Backend", "Main Frontend"], "what was stopped")
        equal([Proc.quick(pid) for pid in pids], [None, None], "its processes")
        equal(w.envctl("show-state", cwd=there, rc=1).err, "", "nothing more to say")
    finally:
        there.rename(w.repo)


@test
def stop_wins_over_a_policy(w):
    w.services(backend="", extra="ENVCTL_BACKEND_RESTART=always\n")
    w.start()
    kill(w, "Main Backend")
    w.stop_all()  # while the restart is due in a second
    w.gone()
    equal(w.service_processes(), [], "nothing came back")


if __name__ == "__main__":
    main()
