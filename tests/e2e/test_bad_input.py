#!/usr/bin/env python3
"""Every kind of bad input: a one-line error that names the thing and the way out, exit 1, nothing left running, nothing lost."""

import json
import os
import re
import socket
import subprocess

from lib import BIN, Proc, check, contains, equal, listens, main, stranger, test, wait_for


def fails(w, *args, code, names, rc=1, **options):
    """Runs a command that must fail, as text and with --json. `names`: what the message has to mention."""
    text = w.envctl(*args, rc=rc, **options)
    first = text.err.strip().splitlines()[-1] if text.err.strip() else ""
    check(first, f"no error on stderr\n{text}")
    check("stack traceback" not in text.err, f"a traceback\n{text}")
    result = w.envctl(*args, "--json", rc=rc, **options)
    document = result.json()
    equal(document["ok"], False, "ok")
    error = document["error"]
    equal(error["code"], code, f"error code\n{result}\n")
    check("\n" not in error["message"], f"the message is one line: {error['message']!r}")
    whole = json.dumps(error, ensure_ascii=False)
    for name in [names] if isinstance(names, str) else names:
        contains(whole, name, "the error document")
        contains(text.err, name, "the error text")
    timeless = lambda t: re.sub(r"after [0-9.]+ s", "after N s", t)  # noqa: E731 # two runs take two times
    check(timeless(error["message"]) in timeless(text.err), f"text and JSON say the same\n{text}\n{result}")
    return error


def nothing_runs(w):
    wait_for(lambda: not w.service_processes(), lambda: f"no service to be left: {w.service_processes()}")
    w.gone()


@test
def not_a_repository(w):
    outside = w.base / "outside"
    outside.mkdir()
    for command in (["start", "--headless"], ["explain-startup"], ["show-state"]):
        error = fails(w, *command, code="not_a_repository", names=str(outside), cwd=outside)
        check(error["hint"], "a hint")
    check(not w.runtime.exists(), "nothing was created")


@test
def no_config_without_a_terminal(w):
    error = fails(w, "start", "--headless", code="config_missing", names=".envctl")
    check(error["hint"], "a hint")
    fails(w, "--headless", code="config_missing", names=".envctl")
    # What only looks runs without it.
    w.envctl("show-config", "--json", rc=0)
    w.envctl("list-targets", "--json", rc=0)
    check(not w.runtime.exists(), "nothing was created")


@test
def malformed_config(w):
    w.services(backend="")
    good = (w.repo / ".envctl").read_text(encoding="utf-8")
    line = good.count("\n") + 1
    for bad, name in (
        ("this is no assignment", "this is no assignment"),
        ("BACKEND_PORT_BASE=80a", "BACKEND_PORT_BASE"),
        ("BACKEND_PORT_BASE=99999", "BACKEND_PORT_BASE"),
        ("MAIN_BACKEND_ENABLE=perhaps", "MAIN_BACKEND_ENABLE"),
        ("ENVCTL_DEFAULT_MODE=forest", "ENVCTL_DEFAULT_MODE"),
    ):
        (w.repo / ".envctl").write_text(good + bad + "\n", encoding="utf-8")
        error = fails(w, "start", "--headless", code="config_invalid", names=[f".envctl:{line}", name])
        equal(error["where"], f".envctl:{line}", "where")
        # Looking works, and says what is wrong.
        shown = w.envctl("show-config", "--json", rc=0).json()
        contains(json.dumps(shown["errors"] + shown["warnings"]), f".envctl:{line}", "show-config")
    check(not w.keepers(), "no keeper was started")


@test
def a_typo_in_a_key_is_a_warning_with_a_suggestion(w):
    w.services(backend="")
    with open(w.repo / ".envctl", "a", encoding="utf-8") as f:
        f.write("ENVCTL_DEFAULT_MODES=main\n")
    shown = w.envctl("show-config", "--json", rc=0).json()
    contains(json.dumps(shown["warnings"]), "ENVCTL_DEFAULT_MODE", "warnings")


@test
def a_broken_config_never_blocks_stop(w):
    w.services(backend="")
    w.start()
    (w.repo / ".envctl").write_text("broken broken\n", encoding="utf-8")
    w.envctl("show-state", "--json", rc=0)
    w.envctl("logs", "--all", rc=0)
    w.envctl("stop", rc=0)
    nothing_runs(w)


@test
def unknown_words(w):
    w.services(backend="")
    contains(str(fails(w, "strat", code="unknown_command", names="strat")["hint"]), "start", "suggestion")
    contains(str(fails(w, "start", "--headles", code="unknown_option", names="--headles")["hint"]), "--headless", "suggestion")
    fails(w, "start", "-x", code="unknown_option", names="-x")
    fails(w, "logs", "--logs-tail", code=code_of(w, "logs", "--logs-tail"), names="--logs-tail")
    w.start()
    error = fails(w, "stop", "--service", "backnd", code="unknown_target", names="backnd")
    contains(json.dumps(error), "backend", "suggestion")
    equal(w.state()["state"]["services"]["Main Backend"]["live"], True, "the service was left alone")


def code_of(w, *args):
    """An option without its value: the word for it is not pinned anywhere, so take the one that is used."""
    return w.envctl(*args, "--json").error()["code"]


@test
def a_service_that_exits_at_once(w):
    w.services(backend="", frontend="--say first --say 'the last words' --exit 3")
    error = fails(w, "start", "--headless", code="service_exited", names=["Main Frontend", "code 3", "the last words"])
    equal(error["where"], "Main/frontend", "where")
    contains(json.dumps(error), ".txt", "the log's path")
    nothing_runs(w)
    # The record stays, so that looking can tell.
    services = w.state()["state"]["services"]
    equal(services["Main Frontend"]["exit"]["code"], 3, "exit code in show-state")
    equal({s["live"] for s in services.values()}, {False}, "live")
    contains(w.envctl("logs", "--all", rc=0).out, "the last words", "logs")
    # And nothing is in the way of the next one.
    w.services(backend="", frontend="")
    w.start()


@test
def two_that_fail_together(w):
    """Both are told, in the order of their definition, whichever was first."""
    w.services(backend="", frontend="")
    w.configure(ENVCTL_BACKEND_START_CMD="sh -c 'sleep 0.2; exit 4'", ENVCTL_FRONTEND_START_CMD="sh -c 'exit 3'")
    result = w.envctl("start", "--headless", "--json", rc=1)
    error = result.error()
    equal([(f["where"], f["exit"]["code"]) for f in error["failures"]], [("Main/backend", 4), ("Main/frontend", 3)], "failures")
    contains(error["message"], "Main Backend exited with code 4", "the message")
    contains(error["message"], "(and 1 more)", "the message")
    for failure in error["failures"]:
        contains(error["hint"], failure["log_path"], "the logs of both")
    report = w.envctl("errors", "--json", rc=1).json()["recent_failures"]
    equal([f["where"] for f in report], ["Main/backend", "Main/frontend"], "errors")
    nothing_runs(w)


@test
def a_program_that_is_not_there(w):
    w.services(backend="")
    w.configure(ENVCTL_BACKEND_START_CMD="no-such-program-here --port {port}", MAIN_FRONTEND_ENABLE=False)
    result = w.envctl("start", "--headless", "--json", rc=1)
    contains(json.dumps(result.error()), "no-such-program-here", "error")
    nothing_runs(w)


@test
def a_service_that_never_listens(w):
    w.services(backend="", frontend="--never-listen --say 'thinking about it'", ENVCTL_SERVICE_LISTENER_TIMEOUT="4")
    error = fails(w, "start", "--headless", code="service_not_ready", names=["Main Frontend", str(w.port + 10)])
    contains(json.dumps(error), "thinking about it", "the log's end")
    nothing_runs(w)


@test
def a_service_that_binds_another_port(w):
    other = w.port + 77
    w.services(backend=f"--listen-on {other}")
    result = w.start()
    contains(result.err, str(other), "the warning")
    service = w.saved_state()["services"]["Main Backend"]
    equal((service["requested_port"], service["actual_port"]), (w.port, other), "ports")
    contains(service["url"], str(other), "url")


@test
def a_fixed_port_is_not_given_up(w):
    other = w.port + 77
    w.services(backend=f"--listen-on {other}", ENVCTL_BACKEND_PORT=w.port + 3)
    result = w.envctl("start", "--headless", "--json", rc=1)
    for name in (str(other), str(w.port + 3)):
        contains(json.dumps(result.error()), name, "error")
    nothing_runs(w)


@test
def binary_garbage(w):
    w.services(backend="--garbage --exit 1")
    for args in (["start", "--headless"], ["start", "--headless", "--json"]):
        result = w.envctl(*args, rc=1)
        for stream in (result.out_bytes, result.err_bytes):
            left = re.sub(rb"[\n\t\x20-\x7e]", b"", stream).decode("utf-8")  # raises when it is no UTF-8
            check(not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e]", left), f"control bytes in {stream!r}")
    nothing_runs(w)
    w.services(backend="--garbage")
    w.start()
    w.envctl("logs", "--all", "--json", rc=0).json()


@test
def a_service_that_ignores_term(w):
    w.services(backend="--ignore-term", frontend="--ignore-term")
    w.start()
    pids = [s["pid"] for s in w.saved_state()["services"].values()]
    result = w.envctl("stop-all", "--json", rc=0)
    equal([(s["stopped"], s["killed"]) for s in result.json()["stopped"]], [(True, True)] * 2, "stopped, killed")
    check(not any(Proc.quick(pid) for pid in pids), "gone")


@test
def a_fixed_port_that_is_taken(w):
    p = stranger(w, w.port + 3)
    w.services(backend="", frontend="", ENVCTL_BACKEND_PORT=w.port + 3)
    error = fails(w, "start", "--headless", code="port_taken", names=[str(w.port + 3), str(p.pid)])
    check(error["hint"], "a hint")
    nothing_runs(w)
    check(p.poll() is None, "the stranger was harmed")


@test
def a_base_port_that_is_taken(w):
    for host in ("127.0.0.1", "::1", "0.0.0.0"):
        p = stranger(w, w.port, host)
        w.services(backend="", frontend="")
        result = w.start()
        contains(result.err + result.out, str(p.pid), f"who holds it ({host})")
        contains(result.err + result.out, str(w.port), f"which port ({host})")
        ports = {s["service"]: s["actual_port"] for s in w.saved_state()["services"].values()}
        check(ports["backend"] != w.port, "the backend moved")
        # All services of the project move together.
        equal(ports["frontend"] - ports["backend"], 10, "distance of the two ports")
        explained = w.envctl("explain-startup", "--json", rc=0).json()
        equal({a["action"] for a in explained["plan"]["actions"]}, {"keep"}, "the moved ports are kept")
        w.stop_all()
        w.gone()
        p.kill()
        p.wait()
        # The reservation of the first round would be in the way of seeing the next one move.
        for name in ("ports.json",):
            (w.runtime / "engine" / name).unlink(missing_ok=True)


@test
def an_unreadable_state(w):
    w.services(backend="", frontend="")
    w.start()
    keeper = w.keepers()[0]
    keeper.signal(9)
    wait_for(lambda: not keeper.alive, "the keeper to end")
    w.state_file().write_text('{"services": ', encoding="utf-8")
    for command in (["start", "--headless"], ["show-state"], ["stop"]):
        error = fails(w, *command, code="state_unreadable", names="run_state.json")
        contains(str(error["hint"]), "stop-all", "hint")
    equal(w.state_file().read_text(encoding="utf-8"), '{"services": ', "the file was left as it was")
    result = w.envctl("stop-all", "--json", rc=0).json()
    equal(result["swept"] > 0, True, "what was running was found by its marks")
    nothing_runs(w)
    check(list(w.scope_dir().glob("run_state.json.corrupt-*")), "the file was set aside")
    w.start()


@test
def busy_names_the_other_one(w):
    w.services(backend=f"--until {w.base}/go")
    first = w.spawn(BIN, "start", "--headless", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(w.service_processes, "the first start to begin")
    error = w.envctl("start", "--headless", "--json", rc=1).error()
    equal(error["code"], "busy", "code")
    contains(error["message"], str(first.pid), "the pid of the first one")
    # Nobody should look for a process that is gone; what it began goes on.
    first.kill()
    first.wait()
    wait_for(lambda: "its command has gone away" in w.envctl("stop", "--all", "--json", rc=1).error()["message"], "the keeper to notice")
    (w.base / "go").touch()
    w.start("--wait")
    equal({s["status"] for s in w.saved_state()["services"].values()}, {"ready"}, "what the first one began")


@test
def a_start_that_nobody_waits_for_ends_with_stop_all(w):
    """It is wanted until somebody says stop: its command was killed, and one service would take for ever."""
    w.services(backend="", frontend=f"--until {w.base}/never")
    first = w.spawn(BIN, "start", "--headless", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(w.service_processes()) == 2, "both to be launched")
    equal(w.envctl("stop-all", "--json", rc=1).error()["code"], "busy", "while its command waits for it")
    first.kill()
    first.wait()
    wait_for(lambda: w.envctl("stop-all").rc == 0, "the keeper to notice that the command is gone")
    equal(w.service_processes(), [], "processes")
    equal(w.saved_state(), None, "state")


@test
def ports_in_time_wait_do_not_move(w):
    w.services(backend="")
    for _ in range(3):
        w.start()
        port = w.saved_state()["services"]["Main Backend"]["actual_port"]
        equal(port, w.port, "port")
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), 5) as s:
                s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                while s.recv(4096):
                    pass
        w.stop_all()
        check(not listens(port), "free")


@test
def not_writable(w):
    """A runtime root on a read-only or full file system: nothing is started."""
    w.services(backend="")
    for options, limit in (("ro", ""), ("rw", "size=16k")):
        w.runtime.mkdir(mode=0o700, exist_ok=True)
        script = f'mount -t tmpfs -o mode=700,{options}{"," + limit if limit else ""} none "$1" && shift && '
        if limit:
            script += 'head -c 100k /dev/zero >"$RUN_SH_RUNTIME_DIR/filler" 2>/dev/null; '
        script += 'exec "$@"'
        result = w.run("unshare", "--mount", "sh", "-c", script, "sh", w.runtime, BIN, "start", "--headless", "--json")
        equal(result.rc, 1, f"exit code ({options} {limit})\n{result}\n")
        error = result.error()
        contains(error["message"], str(w.runtime), f"message ({options} {limit})")
        check(error["hint"], "a hint")
        nothing_runs(w)
    check(os.geteuid() == 0, "this test needs root")


if __name__ == "__main__":
    main()
