#!/usr/bin/env python3
"""Real Postgres and Redis, one pair per project, run by the keeper."""

import json
import os
import signal
import socket
import subprocess
import time

from deps import APP, Data, argvs, components, configure, files_with, get
from lib import BIN, PYTHON, Proc, check, contains, equal, listens, main, test, wait_for


def backend_url(w, name="Main Backend"):
    return w.saved_state()["services"][name]["url"].replace("localhost", "127.0.0.1")


@test
def a_row_survives_stop_and_start(w):
    with Data(w):
        configure(w)
        w.start()
        url = backend_url(w)
        equal(get(url, "/put?one"), "ok", "put")
        equal(get(url, "/incr"), "1", "counter")
        parts = components(w.saved_state())
        contains(w.envctl("logs", "--service", "postgres", rc=0).out, "ready to accept connections", "its log, asked for by name")
        check("accept connections" not in w.envctl("logs", rc=0).out, "not among those of services")
        ports = [parts[i]["final"] for i in ("postgres", "redis")]
        pids = [parts[i]["pid"] for i in ("postgres", "redis")]
        w.envctl("stop", "--headless", rc=0)
        for port, pid in zip(ports, pids):
            check(not listens(port), f"port {port} is free")
            check(Proc.quick(pid) is None, f"pid {pid} is gone")
        w.start()
        equal([components(w.saved_state())[i]["final"] for i in ("postgres", "redis")], ports, "ports")
        equal(get(backend_url(w), "/rows"), '["one"]', "rows")
        equal(get(backend_url(w), "/incr"), "2", "counter")


def pid_of(w, name, project="Main"):
    return components(w.saved_state(), project)[name]["pid"]


@test
def two_worktrees_see_different_rows(w):
    with Data(w):
        own = "# mine\nDATABASE_URL = 'postgresql://else/where' # kept\r\n"
        w.write("backend/.env", own)
        configure(w, mode="TREES")
        for n in ("1", "2"):
            w.git("worktree", "add", "-q", "-b", f"shop-{n}", str(w.repo / f"trees/shop/{n}"))
        # What the shell has is for other programs.
        shell = {"DATABASE_URL": "postgresql://prod:1/prod", "REDIS_URL": "redis://prod:1/0", "REDIS_HOST": "prod"}
        w.envctl("start", "--trees", "--headless", "--project", "shop-1", "--project", "shop-2", env=shell, rc=0)
        state = w.saved_state()
        for n in ("1", "2"):
            equal((w.repo / f"trees/shop/{n}/backend/.env").read_bytes(), own.encode(), "an application's own file")
            equal(get(backend_url(w, f"shop-{n} Backend"), f"/put?of-{n}"), "ok", "put")
        for n in ("1", "2"):
            equal(get(backend_url(w, f"shop-{n} Backend"), "/rows"), json.dumps([f"of-{n}"]), "rows")
            equal(get(backend_url(w, f"shop-{n} Backend"), "/incr"), "1", "counter")
        ports = [c["final"] for p in ("shop-1", "shop-2") for c in components(state, p).values()]
        equal(len(set(ports)), 4, "ports differ")
        # Stopping one leaves the other's servers alone.
        w.envctl("stop", "--headless", "--project", "shop-1", rc=0)
        equal(sorted(w.saved_state()["requirements"]), ["shop-2"], "what is left")
        equal(get(backend_url(w, "shop-2 Backend"), "/rows"), '["of-2"]', "rows")


@test
def no_password_in_any_artifact(w):
    with Data(w) as data:
        configure(w)
        start = w.envctl("start", "--headless", rc=0)
        equal(get(backend_url(w), "/put?x"), "ok", "put")
        documents = [
            w.envctl("explain-startup", "--json").out,
            w.envctl("show-state", "--json").out,
            w.envctl("endpoints", "--json").out,
            w.envctl("show-config", "--json").out,
            start.out,
            start.err,
        ]
        passwords = data.passwords()
        equal(len(passwords), 2, "passwords")
        for secret in passwords:
            check(secret not in argvs(), "not in an argument of any process")
            equal(files_with(w.base, secret), [], "files of the repository and the runtime root")
            equal(files_with(data.path, secret), [], "files of the data root, but its own")
            for text in documents:
                check(secret not in text, "not in what is printed")
        for path in data.path.rglob("password"):
            equal(path.stat().st_mode & 0o777, 0o600, f"mode of {path}")
        shown = w.envctl("endpoints", "--json", "--show-secrets", rc=0).json()["dependencies"]
        check(any(p in shown["postgres"]["url"] for p in passwords), "shown when asked for")
        w.envctl("stop-all", "--headless", rc=0)
        for secret in passwords:
            equal(files_with(w.base, secret), [], "files afterwards")


@test
def a_killed_postgres_comes_back_with_its_rows(w):
    with Data(w):
        configure(w)
        w.start()
        equal(get(backend_url(w), "/put?kept"), "ok", "put")
        backend = w.saved_state()["services"]["Main Backend"]["pid"]
        postmaster = Proc(pid_of(w, "postgres"))
        postmaster.signal(signal.SIGKILL)
        wait_for(lambda: not postmaster.alive, "the postmaster to end")
        shown = wait_for(
            lambda: w.state()["state"]["requirements"]["Main"]["components"]["postgres"]["live"] is False
            and w.state()["state"], "the truth"
        )
        part = shown["requirements"]["Main"]["components"]["postgres"]
        equal((part["status"], part["success"]), ("exited", False), "status")
        sick = w.envctl("health", "--json", rc=1).json()
        equal(sick["issues"]["requirement_issues"], ["Main/postgres"], "health")
        wait_for(lambda: "database system is ready" in (e := w.envctl("errors", rc=1).out) and "Main/postgres: exited" in e,
                 "what it said last")
        plan = w.envctl("explain-startup", "--json", rc=0).json()["plan"]["projects"][0]
        equal([(d["id"], d["action"]) for d in plan["dependencies"]], [("postgres", "start"), ("redis", "keep")], "plan")
        w.start()
        check(pid_of(w, "postgres") != postmaster.pid, "another postmaster")
        equal(w.saved_state()["services"]["Main Backend"]["pid"], backend, "the service is the same one")
        equal(get(backend_url(w), "/rows"), '["kept"]', "rows")
        well = w.envctl("health", "--json", rc=0).json()
        equal([(d["id"], d["live"]) for d in well["dependencies"]], [("postgres", True), ("redis", True)], "health")
        equal(w.envctl("errors", "--json", rc=0).json()["requirement_issues"], [], "errors")


@test
def a_killed_keeper_leaves_them_running(w):
    with Data(w):
        configure(w)
        w.start()
        pids = [pid_of(w, n) for n in ("postgres", "redis")]
        equal(get(backend_url(w), "/put?kept"), "ok", "put")
        for keeper in w.keepers():
            keeper.signal(signal.SIGKILL)
            wait_for(lambda k=keeper: not k.alive, "the keeper to be gone")
        equal(get(backend_url(w), "/rows"), '["kept"]', "rows without a keeper")
        w.start()
        equal([pid_of(w, n) for n in ("postgres", "redis")], pids, "pids")
        check("requirements.adopt" in [e["event"] for e in w.events()], "the adoption is an event")
        w.envctl("stop", "--headless", rc=0)
        check(not any(Proc.quick(p) for p in pids), "both are gone")


@test
def a_keeper_killed_while_starting(w):
    with Data(w):
        configure(w)
        for pause in (0.3, 0.9, 1.5, 2.1, 2.7):
            start = w.spawn(BIN, "start", "--headless")
            time.sleep(pause)
            for keeper in w.keepers():
                keeper.signal(signal.SIGKILL)
            start.wait(timeout=60)
            w.envctl("stop-all", "--headless", rc=0)
        w.start()
        equal(get(backend_url(w), "/put?x"), "ok", "put")


@test
def what_stop_ends(w):
    with Data(w):
        configure(w)
        w.start()
        pids = [pid_of(w, n) for n in ("postgres", "redis")]
        w.envctl("stop", "--headless", "--service", "backend", rc=0)
        equal([pid_of(w, n) for n in ("postgres", "redis")], pids, "a service alone")
        w.start()
        w.envctl("stop", "--headless", "--keep-dependencies", rc=0)
        equal([pid_of(w, n) for n in ("postgres", "redis")], pids, "kept")
        w.start()
        equal([pid_of(w, n) for n in ("postgres", "redis")], pids, "still the same")
        w.envctl("stop", "--headless", "--keep-dependencies", rc=0)
        out = w.envctl("stop", "--headless", "--json", rc=0).json()
        equal(sorted(d["dependency"] for d in out["dependencies"]), ["postgres", "redis"], "ended without services")
        check(not any(Proc.quick(p) for p in pids), "gone")
        wait_for(lambda: not w.keepers(), "the keeper to go")


@test
def a_written_password_and_another_database(w):
    with Data(w) as data:
        secret = "p@ss:w/ö'rd"
        configure(w, redis=False, DB_PASSWORD=f'"{secret}"', DB_NAME="shop-db", DB_USER="shop")
        w.start()
        equal(get(backend_url(w), "/put?x"), "ok", "put")
        equal(data.passwords(), [], "none was made")
        check(secret not in argvs(), "not in an argument")
        shown = w.envctl("endpoints", "--json", "--show-secrets", rc=0).json()["dependencies"]["postgres"]["url"]
        equal(shown, f"postgresql://shop:p%40ss%3Aw%2F%C3%B6%27rd@localhost:{w.port + 40}/shop-db", "shown when asked for")
        # Another password later: the data stays, and the old one is of no use any more.
        configure(w, redis=False, DB_PASSWORD="another-one", DB_NAME="shop-db", DB_USER="shop")
        done = w.start("--json").json()
        changed = [(c["service"], c["field"], c["before"], c["after"]) for c in done["changes"] if c.get("dependency")]
        equal(changed, [("postgres", "secrets", "***", "***")], "what differs")
        equal(get(backend_url(w), "/rows"), '["x"]', "rows")


@test
def a_stale_lock_file_of_postgres(w):
    with Data(w) as data:
        configure(w, redis=False)
        w.start()
        postmaster = Proc(pid_of(w, "postgres"))
        postmaster.signal(signal.SIGKILL)
        wait_for(lambda: not postmaster.alive, "the end")
        w.envctl("stop-all", "--headless", rc=0)
        # The pid in it belongs to somebody else now.
        lock = next(data.path.rglob("postmaster.pid"))
        text = lock.read_text().replace(str(postmaster.pid), str(os.getpid()), 1)
        lock.write_text(text)
        w.start()
        equal(get(backend_url(w), "/put?x"), "ok", "put")


@test
def a_dependency_alone_is_an_environment(w):
    with Data(w):
        configure(w, postgres=False, MAIN_BACKEND_ENABLE=False)
        w.start()
        redis = components(w.saved_state())["redis"]
        check(listens(redis["final"]), f"redis listens on {redis['final']}")
        equal(w.envctl("health", "--json", rc=0).json()["healthy"], True, "health")
        w.start()
        equal(components(w.saved_state())["redis"]["final"], redis["final"], "port after a second start")
        w.envctl("resume", "--headless", rc=0)
        equal(components(w.saved_state())["redis"]["pid"], redis["pid"], "a resume leaves what runs alone")
        Proc(redis["pid"]).signal(9)
        wait_for(lambda: components(w.state()["state"])["redis"]["live"] is False, "the truth")
        w.envctl("resume", "--headless", rc=0)
        check(listens(redis["final"]), "a resume brings it back")
        w.stop_all()
        check(not listens(redis["final"]), "redis has ended")


@test
def a_dependency_that_is_planned_no_more_is_ended(w):
    with Data(w):
        configure(w, postgres=False, MAIN_BACKEND_ENABLE=False)
        w.start()
        redis = components(w.saved_state())["redis"]
        configure(w, postgres=False, redis=False, MAIN_BACKEND_ENABLE=False)
        plan = w.envctl("explain-startup", "resume", "--json", rc=0).json()["plan"]
        equal(plan["actions"], [{
            "project": "Main", "service": "redis", "dependency": True, "action": "stop",
            "reason": "is no longer part of the plan",
        }], "the plan")
        said = w.envctl("resume", "--headless", rc=0)
        contains(said.err, "Main/redis: stop (is no longer part of the plan)", "what it did")
        check(not listens(redis["final"]), "redis has ended")
        equal(w.saved_state()["requirements"], {}, "it is forgotten")


@test
def a_taken_port_moves_the_project(w):
    with Data(w):
        configure(w, postgres=False)
        stranger = socket.create_server(("127.0.0.1", w.port + 60))
        w.start()
        final = components(w.saved_state())["redis"]["final"]
        check(final != w.port + 60, f"redis is on {final}")
        equal(get(backend_url(w), "/incr"), "1", "counter")
        stranger.close()


@test
def external(w):
    with Data(w):
        configure(w)
        w.start()
        url = w.envctl("endpoints", "--json", "--show-secrets", rc=0).json()["dependencies"]["postgres"]["url"]
        equal(get(backend_url(w), "/put?outside"), "ok", "put")
        pid = pid_of(w, "postgres")
        other = w.base / "other"
        other.mkdir()
        # A second repository uses the first one's server by its URL.
        subprocess.run(["git", "-c", "init.defaultBranch=main", "init", "-q", str(other)], env=w.env, check=True)
        config = (w.repo / ".envctl").read_text().replace("MAIN_REDIS_ENABLE=true", "MAIN_REDIS_ENABLE=false")
        config = config.replace(f"BACKEND_PORT_BASE={w.port}", f"BACKEND_PORT_BASE={w.port + 90}")
        (other / ".envctl").write_text(config)
        (other / "backend").mkdir()
        own = w.envctl("--repo", str(other), "start", "--headless", "--json", rc=0).json()["state_path"]
        with open(own, encoding="utf-8") as f:
            own = components(json.load(f))["postgres"]["pid"]
        check(Proc.quick(own) is not None, "its own server, at first")
        (other / ".envctl").write_text(config + f"ENVCTL_POSTGRES_URL={url}\n")
        out = w.envctl("--repo", str(other), "start", "--headless", "--json", rc=0).json()
        backend = next(s for s in out["services"] if s["service"] == "backend")
        equal(get(backend["url"].replace("localhost", "127.0.0.1"), "/rows"), '["outside"]', "rows")
        check(Proc.quick(own) is None, "its own server has given way")
        shown = w.envctl("--repo", str(other), "endpoints", "--json", rc=0).json()["dependencies"]["postgres"]
        equal((shown["provider"], shown["port"]), ("external", components(w.saved_state())["postgres"]["final"]), "shown")
        w.envctl("--repo", str(other), "stop-all", rc=0)
        check(Proc.quick(pid) is not None, "it is never stopped")
        w.allow_left = [r"engine/repo-[0-9a-f]{12}.*"]


@test
def dump_reset_restore(w):
    with Data(w):
        configure(w)
        w.start()
        equal(get(backend_url(w), "/put?kept"), "ok", "put")
        dump = w.base / "main.dump"
        w.envctl("data", "dump", "--project", "Main", "--file", str(dump), rc=0)
        equal(dump.stat().st_mode & 0o777, 0o600, "mode")
        equal(w.envctl("data", "dump", "--project", "Main", "--file", str(dump), "--json", rc=1).json()["error"]["code"],
              "path_occupied", "never overwrites")
        equal(w.envctl("data", "reset", "--project", "Main", "--json", rc=1).json()["error"]["code"],
              "confirmation_required", "asks")
        equal(w.envctl("data", "reset", "--project", "Main", "--json", "--yes", rc=1).json()["error"]["code"],
              "data_in_use", "not under a running server")
        w.envctl("stop", "--headless", rc=0)
        out = w.envctl("data", "reset", "--project", "main", "--json", "--yes", rc=0).json()
        equal([(i["dependency"], i["removed"]) for i in out["items"]], [("postgres", True), ("redis", True)], "reset")
        w.start()
        equal(get(backend_url(w), "/rows"), "[]", "rows")
        equal(get(backend_url(w), "/incr"), "1", "counter")
        w.envctl("data", "restore", "--project", "Main", "--file", str(dump), "--yes", rc=0)
        equal(get(backend_url(w), "/rows"), '["kept"]', "rows")
        broken = w.base / "broken.dump"
        broken.write_text("no dump")
        w.envctl("data", "restore", "--project", "Main", "--file", str(broken), "--yes", rc=1)
        equal(get(backend_url(w), "/rows"), '["kept"]', "rows")


@test
def shared_servers(w):
    with Data(w):
        configure(w, mode="TREES", ENVCTL_POSTGRES_SCOPE="shared", ENVCTL_REDIS_SCOPE="shared")
        for n in ("1", "2"):
            w.git("worktree", "add", "-q", "-b", f"shop-{n}", str(w.repo / f"trees/shop/{n}"))
        w.envctl("start", "--trees", "--headless", "--project", "shop-1", "--project", "shop-2", rc=0)
        state = w.saved_state()
        equal(sorted(state["requirements"]), ["@shared", "shop-1", "shop-2"], "holders")
        servers = {c["id"]: c["pid"] for c in components(state, "@shared").values()}
        for n in ("1", "2"):
            url = backend_url(w, f"shop-{n} Backend")
            equal(get(url, f"/put?of-{n}"), "ok", "put")
            equal((get(url, "/rows"), get(url, "/incr")), (json.dumps([f"of-{n}"]), "1"), f"what shop-{n} sees")
        w.envctl("stop", "--headless", "--project", "shop-1", rc=0)
        check(all(Proc.quick(p) for p in servers.values()), "used by the other still")
        w.envctl("start", "--trees", "--headless", "--project", "shop-1", rc=0)
        equal({c["id"]: c["pid"] for c in components(w.saved_state(), "@shared").values()}, servers, "the same servers")
        equal(get(backend_url(w, "shop-1 Backend"), "/rows"), '["of-1"]', "rows")
        # Nothing of its own is deleted with it: its password without its database would be of no use.
        gone = w.envctl("delete-worktree", "shop-1", "--force", "--remove-volumes", "--yes", rc=0)
        contains(gone.out, "The database of shop-1/postgres on the shared server stays.", "what stays")
        check("is gone" not in gone.err, gone.err)
        w.envctl("stop", "--headless", "--project", "shop-2", rc=0)
        check(not any(Proc.quick(p) for p in servers.values()), "they end with the last user")


@test
def a_worktree_that_fails_is_no_user_of_a_shared_server(w):
    with Data(w):
        fails = f"/bin/sh -c 'case $PWD in */2/*) exit 3 ;; esac; exec {PYTHON} -S -E {APP} --port {{port}}'"
        configure(w, mode="TREES", postgres=False, ENVCTL_REDIS_SCOPE="shared", ENVCTL_BACKEND_START_CMD=fails)
        for n in ("1", "2"):
            w.git("worktree", "add", "-q", "-b", f"shop-{n}", str(w.repo / f"trees/shop/{n}"))
        failed = w.envctl("start", "--trees", "--all", "--headless", "--json", rc=1).json()["error"]
        equal(failed["where"], "shop-2/backend", "what failed")
        state = w.saved_state()
        equal(sorted(state["requirements"]), ["@shared", "shop-1"], "holders")
        server = components(state, "@shared")["redis"]["pid"]
        equal(get(backend_url(w, "shop-1 Backend"), "/incr"), "1", "the other one works")
        w.envctl("stop", "--headless", "--project", "shop-1", rc=0)
        check(not Proc.quick(server), "it ends with its last user")


@test
def a_command_of_the_users(w):
    with Data(w):
        background = w.write("redis.sh", "#!/bin/sh\nredis-server --port $1 --bind 127.0.0.1 --save '' >>/dev/null & \nexit 0\n", 0o755)
        wrapper = w.write("wrap.sh", "#!/bin/sh\nredis-server --port $PORT --save ''\nexit 3\n", 0o755)
        for command in ("redis-server --port {port} --save ''", f"{background} {{port}}", str(wrapper)):
            configure(w, postgres=False, ENVCTL_REQUIREMENT_REDIS_CMD=f'"{command}"')
            w.start()
            part = components(w.saved_state())["redis"]
            equal((part["provider"], part["success"]), ("command", True), "component")
            check(Proc.quick(part["pid"]) is not None, "its process lives")
            equal(get(backend_url(w), "/incr"), "1", "counter")
            w.envctl("stop", "--headless", rc=0)
            check(not listens(part["final"]), "its port is free")
        configure(w, postgres=False, ENVCTL_REQUIREMENT_REDIS_CMD="false {port}")
        failed = w.envctl("start", "--headless", "--json", rc=1).json()["error"]
        equal((failed["code"], failed["where"]), ("dependency_failed", "Main/redis"), "error")


@test
def seeding_a_worktree_from_main(w):
    with Data(w):
        configure(w, TREES_POSTGRES_ENABLE=True, TREES_REDIS_ENABLE=True)
        w.start()
        equal((get(backend_url(w), "/put?base"), get(backend_url(w), "/incr")), ("ok", "1"), "put")
        w.git("worktree", "add", "-q", "-b", "shop-1", str(w.repo / "trees/shop/1"))
        w.git("worktree", "add", "-q", "-b", "shop-2", str(w.repo / "trees/shop/2"))
        for n in ("1", "2"):
            if n == "2":  # the first copy is taken from a server that runs, the second from files
                w.envctl("stop-all", "--headless", rc=0)
            w.envctl("start", "--trees", "--headless", "--project", f"shop-{n}", "--seed-requirements-from-base", rc=0)
            url = backend_url(w, f"shop-{n} Backend")
            equal((get(url, "/rows"), get(url, "/incr")), ('["base"]', "2"), "starts with what main has")
            equal(get(url, f"/put?of-{n}"), "ok", "put")
        w.envctl("stop-all", "--headless", rc=0)
        w.start()
        equal((get(backend_url(w), "/rows"), get(backend_url(w), "/incr")), ('["base"]', "2"), "main is as it was")
        # Once more, on demand.
        again = ("data", "seed", "--project", "shop-1")
        equal(w.envctl(*again, "--json", rc=1).json()["error"]["code"], "confirmation_required", "asked")
        equal(w.envctl("data", "seed", "--project", "Main", "--yes", "--json", rc=1).json()["error"]["code"], "not_supported", "self")
        contains(w.envctl(*again, "--yes", rc=0).out, "shop-1/postgres: begins with a copy", "said")
        equal(get(backend_url(w), "/put?later"), "ok", "put")
        w.envctl("start", "--trees", "--headless", "--project", "shop-1", rc=0)
        url = backend_url(w, "shop-1 Backend")
        equal((get(url, "/rows"), get(url, "/incr")), ('["base", "later"]', "3"), "what main has by now")
        equal(get(url, "/put?own"), "ok", "put")
        w.envctl("stop-all", "--headless", rc=0)
        w.envctl("start", "--trees", "--headless", "--project", "shop-1", rc=0)
        equal(get(backend_url(w, "shop-1 Backend"), "/rows"), '["base", "later", "own"]', "once")


@test(timeout=240)
def ten_projects_side_by_side(w):
    """Ten worktrees with servers of their own start in parallel; blast-all leaves nothing of them, and nothing else alone."""
    with Data(w) as data:
        configure(w, mode="TREES", RUN_SH_OPT_PARALLEL_TREES_MAX=10)
        names = [f"shop-{n}" for n in range(1, 11)]
        for name in names:
            w.git("worktree", "add", "-q", "-b", name, str(w.repo / "trees/shop" / name[5:]))
        # Somebody else's server, and data, with names that look alike.
        stranger = w.spawn("redis-server", "--port", "0", "--unixsocket", str(w.base / "shop-1.sock"), "--save", "",
                           stdout=subprocess.DEVNULL)
        other = data.path / "repo-0123456789ab/shop-1/postgres"
        other.mkdir(parents=True)
        w.envctl("start", "--trees", "--all", "--headless", rc=0, timeout=200)
        state = w.saved_state()
        parts = [c for name in names for c in components(state, name).values()]
        equal(len({c["final"] for c in parts}), 20, "ports of their own")
        equal(len({c["data_dir"] for c in parts}), 20, "data of their own")
        for n, name in enumerate(names):
            url = backend_url(w, f"{name} Backend")
            equal((get(url, f"/put?of-{n}"), get(url, "/incr")), ("ok", "1"), name)
        for n, name in enumerate(names):
            equal(get(backend_url(w, f"{name} Backend"), "/rows"), json.dumps([f"of-{n}"]), f"what {name} sees")
        everything = ("--blast-remove-worktree-volumes", "--blast-remove-main-volumes", "--yes")
        w.envctl("blast-all", *everything, "--headless", rc=0, timeout=120)
        equal([c["final"] for c in parts if listens(c["final"])], [], "open ports")
        equal([c["data_dir"] for c in parts if os.path.exists(c["data_dir"])], [], "data")
        check(stranger.poll() is None and other.is_dir(), "strangers are untouched")
        stranger.terminate()
        stranger.wait()


main()
