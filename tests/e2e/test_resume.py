#!/usr/bin/env python3
"""What is saved, what is true, what is wanted: the truth in generated worlds (R19), after a reboot (R20), what resume does and why,
which differences make a start replace what runs, and scripts that decide otherwise."""

import json
import os
import random
import signal
import socket
import subprocess
from pathlib import Path

from lib import BIN, SEED, SVC, PYTHON, Proc, Skipped, check, contains, equal, main, rounds, test, wait_for

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
OTHER_BOOT = "00000000-0000-4000-8000-000000000000"


def pids(w):
    return {name: s["pid"] for name, s in w.saved_state()["services"].items()}


def actions(document):
    listed = document["plan"]["actions"] if "plan" in document else document["actions"]
    return {a["service"]: (a["action"], a["reason"]) for a in listed}


def explained(w, command="resume"):
    return w.envctl("explain-startup", command, "--json", rc=0).json()


def end(w, name):
    """Ends a service behind the back of everybody."""
    process = Proc(w.saved_state()["services"][name]["pid"])
    process.signal(signal.SIGKILL)
    wait_for(lambda: not process.alive, f"{name} to end")
    wait_for(lambda: w.saved_state()["services"][name]["status"] == "exited", f"{name} to be recorded as gone")


def end_keeper(w):
    for keeper in w.keepers():
        keeper.signal(signal.SIGKILL)
        wait_for(lambda p=keeper: not p.alive, "the keeper to end")


@test
def a_start_whose_keeper_went_is_not_called_ready(w):
    """What was never seen ready is waited for by the next command that keeps it."""
    w.services(backend=f"--until {w.base}/go")
    first = w.spawn(BIN, "start", "--headless", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: "service.start" in [e["event"] for e in w.events()], "the service to be let go")
    pid = w.saved_state()["services"]["Main Backend"]["pid"]
    end_keeper(w)
    equal(first.wait(60), 1, "the start has lost its keeper")
    second = w.spawn(BIN, "resume", "--headless", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    equal(second.stderr.readline(), "Main Backend: starting\n", "not that it runs already")
    (w.base / "go").touch()
    said = second.stderr.read()
    equal(second.wait(60), 0, said)
    contains(said, "Main Backend: ready in", "waited for")
    saved = w.saved_state()["services"]["Main Backend"]
    equal((saved["pid"], saved["status"], saved["actual_port"]), (pid, "ready", w.port), "the same process")


# --- the truth ---------------------------------------------------------------------------------------------------------


class Processes:
    """What records can name: each kind with the answer that /proc gives."""

    def __init__(self, w):
        self.alive = [w.spawn("sleep", "600", env={"PATH": "/usr/bin:/bin"}, cwd="/") for _ in range(6)]
        for p in self.alive:
            w.started.remove(p)
            w.decoys.append(p)
        self.zombie = os.fork()
        if self.zombie == 0:
            os._exit(0)
        wait_for(lambda: Proc(self.zombie).state == "Z", "a zombie")
        gone = os.fork()
        if gone == 0:
            os._exit(0)
        os.waitpid(gone, 0)
        self.gone = gone

    def close(self):
        os.waitpid(self.zombie, 0)

    def identity(self, rng, kind, model):
        """An identity of this kind."""
        pid = {"zombie": self.zombie, "gone": self.gone}.get(kind) or rng.choice(self.alive).pid
        out = {**model, "pid": pid, "start_time_ticks": Proc(pid).start}
        if kind == "reused":
            out["start_time_ticks"] += rng.choice((-1, 1, 100))
        elif kind == "reboot":
            out["boot_id"] = OTHER_BOOT
        elif kind == "other_pid_namespace":
            out["pid_ns"] = model["pid_ns"] + 1
        return out


# kind -> live and live_reason of show-state
TRUTH = {
    "alive": (True, None), "gone": (False, "gone"), "zombie": (False, "zombie"), "reused": (False, "reused"),
    "reboot": (False, "reboot"), "other_pid_namespace": (None, "other_pid_namespace"),
}
UP = ("starting", "running", "ready", "unhealthy", "stopping", "unknown")


def expected_action(name, live):
    planned = name in ("backend", "frontend")
    if live is None:
        return "unknown"
    if live:
        return "restart" if planned else "stop"
    return "start" if planned else "forget"


@test(timeout=300)
def the_truth_of_generated_worlds(w):
    """R19: whatever the state claims, show-state says what /proc says, and resume would do what follows from it."""
    w.services(backend="", frontend="")
    w.start()
    path, saved = w.state_file(), w.saved_state()
    w.stop_all()
    w.gone()
    model = saved["services"]["Main Backend"]
    processes, rng = Processes(w), random.Random(SEED)
    thief = socket.create_server(("127.0.0.1", model["actual_port"]))  # the port of the dead is a stranger's
    try:
        for number in range(rounds(100)):
            services, wanted = {}, {}
            for service in ["backend", "frontend", "worker", "queue", "mail"][: rng.randrange(1, 6)]:
                kind, status = rng.choice(list(TRUTH)), rng.choice((*UP, "exited", "stopped"))
                name = f"Main {service.capitalize()}"
                services[name] = {
                    **model, "service": service, "type": service, "status": status, "plan_digest": "sha256:old",
                    "identity": processes.identity(rng, kind, model["identity"]),
                }
                del services[name]["plan"]
                live, reason = TRUTH[kind]
                seen = "unknown" if live is None else "exited" if not live and status in UP else status
                if live and status in ("running", "ready"):
                    seen, reason = "unreachable", f"no process of it listens on port {model['actual_port']}"
                wanted[name] = (live, reason, seen)
            path.write_text(json.dumps({**saved, "services": services}), encoding="utf-8")
            shown = w.state()["state"]["services"]
            got = {n: (s["live"], s.get("live_reason"), s["status"]) for n, s in shown.items()}
            equal(got, wanted, f"world {number}, seed {SEED}: show-state")
            if number % 5 == 0:
                planned = {s: ("start",) for s in ("backend", "frontend")}
                planned |= {n.split()[1].lower(): (expected_action(n.split()[1].lower(), t[0]),) for n, t in wanted.items()}
                got = {s: a[:1] for s, a in actions(explained(w)).items()}
                equal(got, planned, f"world {number}, seed {SEED}: actions of resume")
        for p in processes.alive:
            check(p.poll() is None, "something was signalled")
    finally:
        thief.close()
        processes.close()
        path.unlink()


@test
def after_a_reboot(w):
    """R20: another boot id. Nothing runs, nothing is signalled, and resume brings the same services back to the same ports."""
    if os.geteuid() != 0:
        raise Skipped("needs root for a mount namespace")
    w.services(backend="", frontend="")
    w.start()
    end_keeper(w)
    before = w.saved_state()
    ports = {n: s["actual_port"] for n, s in before["services"].items()}
    # Pids come back after a reboot: here with the very start time that is saved.
    for p in w.service_processes():
        p.signal(signal.SIGKILL)
    w.gone()
    stranger = w.spawn("sleep", "600", env={"PATH": "/usr/bin:/bin"}, cwd="/")
    w.started.remove(stranger)
    w.decoys.append(stranger)
    for s in before["services"].values():
        s["pid"] = stranger.pid
        s["identity"] |= {"pid": stranger.pid, "start_time_ticks": Proc(stranger.pid).start}
    w.state_file().write_text(json.dumps(before), encoding="utf-8")
    fake = w.base / "boot_id"
    fake.write_text(OTHER_BOOT + "\n", encoding="ascii")

    def rebooted(*args):
        script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        result = w.run("unshare", "--mount", "sh", "-c", script, "sh", fake, BOOT_ID, BIN, *args)
        if "unshare" in result.err or "mount:" in result.err:
            raise Skipped(result.err.strip())
        equal(result.rc, 0, f"exit code\n{result}\n")
        return result

    shown = json.loads(rebooted("show-state", "--json").out)["state"]["services"]
    equal({(s["live"], s.get("live_reason")) for s in shown.values()}, {(False, "reboot")}, "nothing runs")
    plan = json.loads(rebooted("explain-startup", "resume", "--json").out)
    equal(actions(plan), {s: ("start", "the machine was started again") for s in ("backend", "frontend")}, "the plan")
    project = plan["plan"]["projects"][0]
    equal({f"Main {s['name'].capitalize()}": s["port"] for s in project["services"]}, ports, "planned ports")
    rebooted("resume", "--headless", "--json")
    after = w.saved_state()["services"]
    equal({n: s["actual_port"] for n, s in after.items()}, ports, "ports")
    equal({s["identity"]["boot_id"] for s in after.values()}, {OTHER_BOOT}, "the boot they are of")
    rebooted("stop-all", "--json")
    check(stranger.poll() is None, "the stranger with our pid was signalled")


# --- what resume does ----------------------------------------------------------------------------------------------------


@test
def what_is_sick_is_brought_back_by_resume_alone(w):
    """A service that lives and does not listen any more: a start leaves it, resume restarts it, and both say so."""
    w.services(backend="", frontend="")
    w.start()
    before, port = pids(w), w.saved_state()["services"]["Main Backend"]["actual_port"]
    # The record is that of a service which listened, the process one that never does.
    end_keeper(w)
    for p in [p for p in w.service_processes() if p.pid == before["Main Backend"]]:
        marker = p.environ()["ENVCTL_SERVICE"]
        p.signal(signal.SIGKILL)
    deaf = w.spawn(PYTHON, "-S", "-E", SVC, "--never-listen", env={**w.env, "ENVCTL_SERVICE": marker}, start_new_session=True)
    saved = w.saved_state()
    record = saved["services"]["Main Backend"]
    record["pid"], record["status"] = deaf.pid, "ready"
    record["identity"] |= {"pid": deaf.pid, "start_time_ticks": Proc(deaf.pid).start, "session_id": deaf.pid}
    record.pop("cgroup", None)
    w.state_file().write_text(json.dumps(saved), encoding="utf-8")
    why = f"no process of it listens on port {port}"
    equal(actions(explained(w, "start"))["backend"], ("keep", f"runs and is unchanged, but {why}"), "start")
    equal(actions(explained(w))["backend"], ("restart", f"runs, but {why}"), "resume")
    # The same word everywhere.
    shown = w.state()["state"]["services"]["Main Backend"]
    equal((shown["status"], shown["live"], shown["live_reason"]), ("unreachable", True, why), "show-state")
    equal(w.envctl("endpoints", "--json", rc=0).json()["services"]["backend"]["status"], "unreachable", "endpoints")
    contains(w.envctl("health", rc=1).out, "status=unreachable", "health")
    said = w.envctl("resume", "--headless", rc=0)
    contains(said.err, f"Main Backend: restart (runs, but {why})", "what it did")
    wait_for(lambda: deaf.poll() is not None, "the old one to end")
    after = pids(w)
    equal(after["Main Frontend"], before["Main Frontend"], "the frontend was left alone")
    equal(w.state()["state"]["services"]["Main Backend"]["live"], True, "the backend lives")


@test
def what_is_wanted_no_more(w):
    """One that runs is stopped, one that does not is forgotten, and the one that is still wanted stays."""
    w.configure(MAIN_BACKEND_ENABLE=False, MAIN_FRONTEND_ENABLE=False)
    script(w, "", ("api", "web", "old"))
    w.start()
    before = pids(w)
    end(w, "Main Old")
    script(w, "", ("api",))
    gone = "is no longer part of the plan"
    equal(actions(explained(w)), {
        "api": ("keep", "runs and is unchanged"), "web": ("stop", gone), "old": ("forget", gone + " and does not run"),
    }, "the plan")
    w.envctl("resume", "--headless", rc=0)
    equal(pids(w), {"Main Api": before["Main Api"]}, "what is left")
    check(Proc.quick(before["Main Web"]) is None, "web has ended")


@test
def each_mode_returns_to_its_own(w):
    """Both modes run; the state is of the one that was started last. Resume of the other keeps what is its own."""
    w.services(backend="")
    w.git("worktree", "add", "-q", "-b", "a-1", str(w.repo / "trees/a/1"))
    w.start()
    w.envctl("start", "--trees", "--all", "--headless", rc=0)
    before = pids(w)
    equal(len(before), 2, "both run")
    done = w.envctl("resume", "--main", "--headless", "--json", rc=0).json()
    equal(actions(done), {"backend": ("keep", "runs and is unchanged")}, "actions")
    equal(pids(w), before, "pids")


# --- what differs ----------------------------------------------------------------------------------------------------------


@test
def a_refused_reuse_names_what_differs(w):
    """Ports, command, environment, hidden values: before and after of each, and no secret anywhere."""
    section = "# >>> envctl backend launch env >>>\n%s\n# <<< envctl backend launch env <<<\n"
    w.services(section % "MODE=one\nAPI_TOKEN=geheim-1", backend="")
    w.start()
    first = pids(w)
    w.services(section % "MODE=two\nAPI_TOKEN=geheim-2", backend="--say hello")
    plan = explained(w, "start")
    changes = {c["field"]: (c["before"], c["after"]) for c in plan["changes"]}
    equal(sorted(changes), ["command", "env.MODE", "secrets"], "fields")
    equal(changes["env.MODE"], ("one", "two"), "the environment")
    equal(changes["secrets"], ("***", "***"), "the hidden value")
    equal(changes["command"][1][-2:], ["--say", "hello"], "the command")
    equal(actions(plan)["backend"], ("restart", "changed: command, env.MODE, secrets"), "the reason")
    said = w.start("--json")
    done = said.json()
    equal(done["changes"], plan["changes"], "what the start says")
    equal(actions(done), actions(plan), "its actions")
    check("geheim" not in said.out + said.err + json.dumps(plan), "a secret was shown")
    check(pids(w) != first, "it was replaced")
    # For people: the same, a line a field.
    w.services(section % "MODE=three\nAPI_TOKEN=geheim-2", backend="--say hello")
    contains(w.start().err, "changed: Main/backend env.MODE: two -> three", "the text")
    second = pids(w)
    equal(w.start("--json").json()["changes"], [], "nothing differs any more")
    equal(pids(w), second, "pids")


@test
def a_worktree_in_another_place_is_another_environment(w):
    w.services(backend="")
    tree = w.repo / "trees/a/1"
    w.git("worktree", "add", "-q", "-b", "a-1", str(tree))
    start = ("start", "--trees", "--all", "--headless", "--json")
    w.envctl(*start, rc=0)
    saved = w.saved_state()
    (name, record), = saved["services"].items()
    # As if it had been started elsewhere: the tree was moved meanwhile.
    end_keeper(w)
    cwd = record["cwd"]
    record["cwd"] = "/elsewhere"
    w.state_file().write_text(json.dumps(saved), encoding="utf-8")
    done = w.envctl(*start, rc=0).json()
    equal([(c["field"], c["before"], c["after"]) for c in done["changes"]], [("cwd", "/elsewhere", cwd)], "changes")
    check(pids(w)[name] != record["pid"], "it was replaced")


# --- scripts -----------------------------------------------------------------------------------------------------------


def script(w, text, names=("api", "web")):
    command = f"{PYTHON} -S -E {SVC} --port ${{port}}"
    services = ", ".join(f'{n} = {{ command = "{command}", port = {w.port + i} }}' for i, n in enumerate(names))
    w.write(".envctl.lua", "return { envctl = 1, services = { %s },\n%s }\n" % (services, text))
    w.commit()
    w.envctl("script", "trust", rc=0)


OVERRIDE = """override = { ["resume.reconcile"] = function(base, ctx)
  local actions = base(ctx)
  for _, a in ipairs(actions) do
    if a.service == "web" and ctx.saved.services["Main Web"] then a.action, a.reason = "restart", "is started anew every time" end
  end
  return actions
end }"""


@test
def a_script_decides_what_is_restarted(w):
    w.configure(MAIN_BACKEND_ENABLE=False, MAIN_FRONTEND_ENABLE=False)
    script(w, OVERRIDE)
    w.start()
    before = pids(w)
    plan = explained(w)
    equal(actions(plan), {
        "api": ("keep", "runs and is unchanged"), "web": ("restart", "is started anew every time"),
    }, "the plan")
    override, = plan["overrides"]
    equal((override["point"], override["line"]), ("resume.reconcile", 2), "the override")
    equal([c["path"] for c in override["changed"]], ["[2].action", "[2].reason"], "what it changed")
    equal(plan["warnings"], [], "warnings")
    contains(w.envctl("resume", "--headless", rc=0).err, "Main Web: restart (is started anew every time)", "what it did")
    after = pids(w)
    equal(after["Main Api"], before["Main Api"], "api was left alone")
    check(after["Main Web"] != before["Main Web"], "web was replaced")


@test
def what_a_script_leaves_out_is_not_touched(w):
    w.configure(MAIN_BACKEND_ENABLE=False, MAIN_FRONTEND_ENABLE=False)
    script(w, "")
    w.start()
    before = pids(w)
    script(w, 'override = { ["resume.reconcile"] = function(base, ctx) return { base(ctx)[1] } end }')
    error = w.envctl("resume", "--headless", "--json", rc=1).json()["error"]
    equal((error["code"], error["where"]), ("state_unknown", "Main/web"), "the error")
    contains(error["message"], "is left out by resume.reconcile", "why")
    equal(pids(w), before, "pids")


@test
def an_ejected_reconciler_decides(w):
    """The copy does the same; changed, it decides; and check holds it to its contract."""
    w.configure(MAIN_BACKEND_ENABLE=False, MAIN_FRONTEND_ENABLE=False)
    script(w, "")
    w.start()
    before, plain = pids(w), explained(w)["plan"]
    path = w.envctl("script", "eject", "resume.reconcile", "--module", "--json", rc=0).json()["path"]
    use = 'modules = { ["resume.reconcile"] = envctl.include("%s") }' % path
    script(w, use)
    equal(w.envctl("script", "check", "--json", rc=0).json()["errors"], [], "findings")
    plan = explained(w)
    equal(plan["plan"], plain, "the plan")
    equal([(o["point"], o.get("module")) for o in plan["overrides"]], [("resume.reconcile", True)], "overrides")
    w.envctl("resume", "--headless", rc=0)
    equal(pids(w), before, "pids")
    copy = w.repo / path
    text = copy.read_text(encoding="utf-8")
    copy.write_text(text.replace("'keep', 'runs and is unchanged'", "'restart', 'every time'"), encoding="utf-8")
    script(w, use)
    w.envctl("resume", "--headless", rc=0)
    check(not set(pids(w).values()) & set(before.values()), "everything was replaced")
    copy.write_text(text.replace("'unknown', untold(fact)", "'start', 'by luck'"), encoding="utf-8")
    script(w, use)
    contains(w.envctl("script", "check", rc=1).out, 'modules["resume.reconcile"]: contract: nothing is done where it cannot be told',
             "contract")


if __name__ == "__main__":
    main()
