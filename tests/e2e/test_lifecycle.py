#!/usr/bin/env python3
"""restart, resume, restart policies, health, errors, wait: the truth about what runs after something happened to it."""

import signal

from lib import Proc, check, contains, equal, main, test, wait_for


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
    kill(w, "Main Backend")
    sick = w.envctl("health", "--json", rc=1).json()
    equal(sick["issues"]["failing_services"], ["Main Backend"], "failing")
    equal(w.envctl("health", "--service", "frontend", rc=0).rc, 0, "the other one is fine")
    errors = w.envctl("errors", "--json", rc=1).json()
    equal(errors["failed_services"], ["Main Backend"], "failed")
    contains(errors["recent_failures"][0]["message"], "SIGKILL", "how it ended")
    contains("\n".join(errors["recent_failures"][0]["log_tail"]), "hello", "the end of its log")
    error = w.envctl("wait", "--ready", "--timeout", "0.2", "--json", rc=1).json()["error"]
    equal(error["code"], "service_not_ready", "wait's code")


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
def stop_wins_over_a_policy(w):
    w.services(backend="", extra="ENVCTL_BACKEND_RESTART=always\n")
    w.start()
    kill(w, "Main Backend")
    w.stop_all()  # while the restart is due in a second
    w.gone()
    equal(w.service_processes(), [], "nothing came back")


if __name__ == "__main__":
    main()
