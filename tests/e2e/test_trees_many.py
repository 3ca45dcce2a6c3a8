#!/usr/bin/env python3
"""Many worktrees at a time: each with ports of its own, so many starting at once, and one that fails is the only one."""

import json
import re
import signal
import subprocess
import urllib.request

from deps import Data, components
from lib import BIN, PYTHON, SVC, at_once, check, contains, equal, main, test, wait_for
from shop import buy, stock, total
from terminal import on_terminal


def prepare(w, *plans):
    """Two services a worktree. A file fail-N makes the backend of the N-th worktree of a plan fail, slow-N lets it take long."""
    broken = f"n=$(basename $(dirname $PWD)); if test -e {w.base}/fail-$n; then exit 1; fi"
    slow = f"if test -e {w.base}/slow-$n; then sleep 30; fi"
    service = f"exec {PYTHON} -S -E {SVC} --port {{port}} --delay 0.1"
    w.write("backend/README", "a service\n")
    w.write("frontend/README", "a service\n")
    w.configure(
        BACKEND_PORT_BASE=w.port, FRONTEND_PORT_BASE=w.port + 50, PORT_SPACING=2,
        ENVCTL_BACKEND_START_CMD=f"/bin/sh -c '{broken}; {slow}; {service}'",
        ENVCTL_FRONTEND_START_CMD=f"/bin/sh -c '{service}'",
    )
    for name in plans:
        w.write(f"todo/plans/web/{name}.md", f"# {name}\n")
    w.write(".gitignore", ".envctl*\n")
    w.commit()


def most_at_once(w):
    """How many projects were between their first service's start and their last one's being ready, at most."""
    busy, most, first = {}, 0, 0
    events = w.events()
    for i, event in enumerate(events):
        if event["event"] == "startup.begin":
            first = i
    for event in events[first:]:
        if event["event"] == "service.start":
            busy[event["project"]] = busy.get(event["project"], 0) + 1
            most = max(most, len(busy))
        elif event["event"] in ("service.ready", "service.failure"):
            busy[event["project"]] -= 1
            if busy[event["project"]] == 0:
                del busy[event["project"]]
    return most


def live(w):
    return {name for name, s in w.state()["state"]["services"].items() if s["live"]}


@test
def twenty_and_one_of_them_fails(w):
    prepare(w, "shop")
    (w.base / "fail-7").write_text("")
    plan = ["--headless", "--plan", "--count", "shop=20", "--parallel-trees-max", "3", "--json"]
    failed = w.envctl(*plan, rc=1, timeout=120).json()["error"]
    equal((failed["code"], failed["where"], failed.get("failures")), ("service_exited", "web_shop-7/backend", None), "what failed")
    contains(failed["message"], "web_shop-7 Backend exited with code 1", "in words")
    contains(failed["hint"], "/web_shop-7_backend.txt", "and its log")
    wanted = {f"web_shop-{n} {service}" for n in range(1, 21) for service in ("Backend", "Frontend")}
    others = {name for name in wanted if not name.startswith("web_shop-7 ")}
    equal(live(w), others, "everything else runs")
    equal(most_at_once(w), 3, "so many started at once")
    up = [s for s in failed["services"] if s["status"] == "ready"]
    equal({s["name"] for s in up}, others, "what is said to be ready")
    equal(len({s["port"] for s in up}), len(others), "different ports")
    for s in up:
        with urllib.request.urlopen(s["url"], timeout=30) as answer:
            equal(answer.status, 200, s["name"])
    report = w.envctl("errors", "--json", rc=1).json()
    equal({f["where"] for f in report["recent_failures"]}, {"web_shop-7/backend"}, "errors")

    # What failed is all that is missing; what runs is left alone.
    (w.base / "fail-7").unlink()
    done = w.envctl(*plan, rc=0).json()
    equal((done["started"], len({s["port"] for s in done["services"]})), (2, 40), "only what was missing")
    equal(live(w), wanted, "all run")
    w.stop_all()
    equal(w.service_processes(), [], "stop ends everything")


# The worktrees of one group of plans keep everything in servers of their own, the others in memory.
SERVERS_OF_ONE_GROUP = """local function stored(ctx)
  return ctx.project.name:find "^db_" ~= nil
end

return {
  envctl = 1,
  dependencies = { postgres = { enable_if = stored }, redis = { enable_if = stored } },
  override = {
    ["detect.services"] = function(base, ctx)
      local services = base(ctx)
      if not stored(ctx) then
        services.backend.command = "/usr/bin/python3 main.py --port ${port}"
      end
      return services
    end,
  },
}
"""
LAMPS = 12


@test(timeout=300)
def twenty_shops_five_of_them_with_servers(w):
    """One --plan makes and starts twenty worktrees of examples/shop; each has its own customers. The order of starts changes no port,
    and what was sold from a database stays sold."""
    plans = [f"web/page_{n}" for n in range(1, 16)] + [f"db/table_{n}" for n in range(1, 6)]
    trees = {plan.replace("/", "_") + "-1": plan for plan in plans}
    stored = [name for name in trees if name.startswith("db_")]

    def urls():
        """{tree: (backend, frontend)} of what runs; all of it does."""
        services = w.saved_state()["services"]
        equal(set(services), {f"{name} {s}" for name in trees for s in ("Backend", "Frontend")}, "what runs")
        return {name: tuple(services[f"{name} {s}"]["url"].replace("localhost", "127.0.0.1") for s in ("Backend", "Frontend"))
                for name in trees}

    def ports():
        state = w.saved_state()
        equal(sorted(state["requirements"]), sorted(stored), "who has servers")
        used = {(name, c["id"]): c["final"] for name in stored for c in components(state, name).values()}
        used |= {name: s["actual_port"] for name, s in state["services"].items()}
        equal((len(used), len(set(used.values()))), (50, 50), f"ports of their own: {used}")
        return used

    with Data(w):
        w.shop("shop-db")
        for plan in plans:
            w.write(f"todo/plans/{plan}.md", f"# the task of {plan}\n")
        w.write(".envctl.lua", SERVERS_OF_ONE_GROUP)
        w.commit()
        w.envctl("script", "trust", rc=0)
        w.envctl("--headless", "--plan", ",".join(plans), "--parallel-trees-max", "10", rc=0, timeout=200)
        shops, before, carts = urls(), ports(), {}
        for n, (name, (backend, frontend)) in enumerate(shops.items()):
            equal((w.repo / f"trees/{name[:-2]}/1/MAIN_TASK.md").read_text(), f"# the task of {trees[name]}\n", f"task of {name}")
            carts[name] = buy(backend, "lamp", n % LAMPS + 1)
            equal(stock(frontend, "lamp"), LAMPS - 1 - n % LAMPS, f"lamps on the page of {name}")
        for (name, (_, frontend)), other in zip(shops.items(), reversed(list(trees))):
            equal((total(frontend, carts[name]), total(frontend, carts[other])), (1200, None), f"carts of {name}, of {other} there")
        w.stop_all()
        equal(w.service_processes(), [], "stop ends everything")

        # The last ones first, one after another, and then the rest.
        some = [word for name in reversed(list(trees)[14:]) for word in ("--project", name)]
        w.start("--trees", *some, "--no-parallel-trees", timeout=120)
        w.envctl("--headless", "--plan", ",".join(reversed(plans)), "--parallel-trees-max", "10", rc=0, timeout=200)
        equal((urls(), ports()), (shops, before), "the same places")
        for n, (name, (_, frontend)) in enumerate(shops.items()):
            kept = (LAMPS - 1 - n % LAMPS, 1200) if name in stored else (LAMPS, None)
            equal((stock(frontend, "lamp"), total(frontend, carts[name])), kept, f"lamps and cart of {name}, after a new start")


@test
def one_after_another(w):
    prepare(w, "shop")
    (w.base / "fail-1").write_text("")
    result = w.envctl("--headless", "--sequential-plan", "shop,shop,shop", rc=1)
    equal(most_at_once(w), 1, "one at a time")
    equal(live(w), {f"web_shop-{n} {s}" for n in (2, 3) for s in ("Backend", "Frontend")}, "the first one's failure stops nobody")
    contains(result.out, "Services ready for web_shop-2", "the summary")
    check("ready for web_shop-1:" not in result.out, f"what failed is not ready:\n{result}")


@test
def all_fail(w):
    prepare(w, "shop")
    for n in (1, 2):
        (w.base / f"fail-{n}").write_text("")
    failed = w.envctl("--headless", "--plan", "shop,shop", "--json", rc=1).json()["error"]
    equal([f["where"] for f in failed["failures"]], ["web_shop-1/backend", "web_shop-2/backend"], "each is told")
    contains(failed["message"], "(and 1 more)", "in one message")
    for failure in failed["failures"]:
        contains(failed["hint"], failure["log_path"], "with the logs of both")
    equal(live(w), set(), "nothing runs")


@test
def a_database_that_fails_is_that_trees_alone(w):
    prepare(w, "shop")
    w.env["ENVCTL_DATA_DIR"] = str(w.base / "data")
    w.write("../redis.sh", f"""#!/bin/sh
test ! -e {w.base}/no-redis-$(basename $PWD) || exit 3
exec redis-server --port $1 --bind 127.0.0.1 --save ""
""", 0o755)
    w.configure(
        BACKEND_PORT_BASE=w.port, TREES_FRONTEND_ENABLE=False, TREES_REDIS_ENABLE=True, REDIS_PORT=w.port + 50,
        ENVCTL_BACKEND_START_CMD=w.command(), ENVCTL_REQUIREMENT_REDIS_CMD=f"{w.base}/redis.sh {{port}}",
    )
    (w.base / "no-redis-2").write_text("")
    failed = w.envctl("--headless", "--plan", "shop,shop,shop", "--json", rc=1).json()["error"]
    equal((failed["code"], failed["where"], failed.get("failures")), ("dependency_failed", "web_shop-2/redis", None), "what failed")
    equal(live(w), {"web_shop-1 Backend", "web_shop-3 Backend"}, "the others run")
    equal(set(w.saved_state()["requirements"]), {"web_shop-1", "web_shop-3"}, "with theirs")


@test
def each_started_by_somebody_else_at_the_same_moment(w):
    """R24 within one repository: whoever comes second waits for a turn (--wait), or hears who is at work."""
    prepare(w, "shop")
    w.envctl("--headless", "--plan", "--count", "shop=8", rc=0)
    before = {s["name"]: s["port"] for s in w.start("--trees", "--all", "--json").json()["services"]}
    w.stop_all()

    def start(n):
        return w.envctl("start", "--headless", "--trees", "--project", f"web_shop-{n}", "--wait", "--json", timeout=120)

    for n, result in enumerate(at_once([lambda n=n: start(n) for n in range(1, 9)]), 1):
        equal(result.rc, 0, f"web_shop-{n}: {result}")
    services = w.saved_state()["services"]
    equal({name: s["actual_port"] for name, s in services.items()}, before, "all of them, with the ports that they had")
    equal(live(w), set(before), "and alive")


@test
def an_interrupt_takes_back_those_that_run_and_those_that_wait(w):
    prepare(w, "shop")
    w.envctl("--headless", "--plan", "shop,shop,shop,shop,shop", rc=0)
    w.stop_all()
    for n in (3, 4):
        (w.base / f"slow-{n}").write_text("")
    before = len(w.events())

    def those(event):
        return {e["project"] for e in w.events()[before:] if e["event"] == event}

    p = w.spawn(BIN, "start", "--headless", "--trees", "--all", "--parallel-trees-max", "2", stderr=subprocess.DEVNULL)
    wait_for(lambda: those("service.start") == {f"web_shop-{n}" for n in (1, 2, 3, 4)}, "the first two to be ready")
    p.send_signal(signal.SIGINT)
    equal(p.wait(), 2, "exit code")
    equal(live(w), set(), "nothing runs")
    check("web_shop-5" not in those("service.start"), "who waits for a turn is not started any more")


@test
def a_failed_step_before_the_start_is_that_trees_alone(w):
    prepare(w, "shop")
    step = f'{{ name = "seed", shell = true, dir = ".", command = "test ! -e {w.base}/unseeded-$(basename $PWD)" }}'
    w.write(".envctl.local.lua", f"return {{ envctl = 1, services = {{ backend = {{ prepare = {{ {step} }} }} }} }}\n")
    w.envctl("script", "trust", rc=0)
    (w.base / "unseeded-2").write_text("")
    failed = w.envctl("--headless", "--plan", "shop,shop,shop", "--json", rc=1).json()["error"]
    equal((failed["code"], failed["where"]), ("prepare_failed", "web_shop-2/backend"), "what failed")
    equal({name.split()[0] for name in live(w)}, {"web_shop-1", "web_shop-3"}, "the others run")


def rows_of(screen):
    return [line for line in screen.splitlines() if re.match(r"^\S (web_shop-|… )", line)]


@test
def a_terminal_that_is_lower_than_the_list(w):
    """20 worktrees of two services on 24 lines: a row each. On 12 lines: some of them, and how many more."""
    prepare(w, "shop")
    w.envctl("--headless", "--plan", "--count", "shop=20", "--dry-run", rc=0)
    (w.base / "fail-7").write_text("")
    (w.base / "slow-20").write_text("")
    t = on_terminal(w, BIN, "--plan", "--count", "shop=20", "--parallel-trees-max", "5", lines=24)
    seen = [r"^✗ web_shop-7 .*backend failed: ", r"^\S web_shop-20 .*starting … "]

    def there(*more):
        screen = t.screen()
        return all(re.search(pattern, screen, re.M) for pattern in [*seen, *more]) and screen

    screen = wait_for(lambda: there(r"(?s)(2 ready.*){18}"), lambda: f"a row for each, one failed, one slow:\n{t.screen()}", 60)
    equal({line.split()[1] for line in rows_of(screen)}, {f"web_shop-{n}" for n in range(1, 21)}, f"each once on\n{screen}\n")
    check(not re.search(r"web_shop-\d+ (Backend|Frontend)  ", screen), f"rows of services are left:\n{screen}")
    t.keys("C-c")
    equal(t.exit_code(), 2, f"exit code\n{t.screen()}\n")
    t.close()

    t = on_terminal(w, BIN, "start", "--trees", "--all", "--parallel-trees-max", "5", lines=12)
    screen = wait_for(lambda: there(r"^. … 11 more +11 ready"), lambda: f"some rows and a count:\n{t.screen()}", 60)
    equal(len(rows_of(screen)), 10, f"rows on\n{screen}\n")
    t.keys("C-c")
    equal(t.exit_code(), 2, f"exit code\n{t.screen()}\n")
    t.close()


main()
