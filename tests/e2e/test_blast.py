#!/usr/bin/env python3
"""blast-all and stop-all --remove-volumes: said first, asked for, and only ever about this repository."""

import json

from deps import Data, components, configure, get
from lib import BIN, Proc, check, contains, equal, main, test, wait_for
from terminal import on_terminal


def backend_url(w, project="Main"):
    return w.saved_state()["services"][f"{project} Backend"]["url"].replace("localhost", "127.0.0.1")


def names(found):
    return [f"{d['project']}/{d['dependency']}" for d in found]


@test
def what_is_stored_goes_when_it_is_asked_for(w):
    with Data(w) as data:
        configure(w)
        w.start(timeout=100)
        equal(get(backend_url(w), "/put?one"), "ok", "put")
        pids = [Proc(c["pid"]) for c in components(w.saved_state()).values()]
        # Somebody else's, with a name that looks alike.
        other = data.path / "repo-0123456789ab/Main/postgres"
        other.mkdir(parents=True)
        refused = w.envctl("stop-all", "--remove-volumes", "--json", rc=1).json()["error"]
        equal(refused["code"], "confirmation_required", "asked")
        contains(refused["message"], "delete the data of Main/postgres (", "what would go")
        check(all(p.alive for p in pids), "nothing happened")
        dry = w.envctl("stop-all", "--remove-volumes", "--dry-run", "--json", rc=0).json()
        equal(dry["would_stop"], ["Main Backend", "Main/postgres", "Main/redis"], "what would be stopped")
        equal(names(dry["data"]), ["Main/postgres", "Main/redis"], "what would be deleted")
        check(all(p.alive for p in pids), "looking does nothing")
        done = w.envctl("stop-all", "--remove-volumes", "--yes", "--json", rc=0, timeout=60).json()
        equal([(n, d["removed"]) for n, d in zip(names(done["data"]), done["data"])],
              [("Main/postgres", True), ("Main/redis", True)], "deleted")
        check(not any(p.alive for p in pids), "nothing runs")
        check(other.is_dir(), "somebody else's data stays")
        check((w.runtime / "engine").exists() and any((w.runtime / "engine").glob("repo-*/runs/*")), "what was saved stays")
        w.start(timeout=100)
        equal(get(backend_url(w), "/rows"), "[]", "a new beginning")


@test
def the_data_of_a_worktree(w):
    with Data(w) as data:
        configure(w, postgres=False, mode="TREES")
        for n in ("1", "2"):
            w.git("worktree", "add", "-q", "-b", f"shop-{n}", str(w.repo / f"trees/shop/{n}"))
        w.start("--trees", "--all", timeout=60)
        equal(len([p for p in data.path.rglob("redis") if p.is_dir()]), 2, "both have data")
        gone = ("delete-worktree", "shop-1", "--remove-volumes")
        contains(w.envctl(*gone, "--dry-run", rc=0).out, "would delete the data of shop-1/redis (", "said first")
        refused = w.envctl(*gone, "--headless", "--json", rc=1).json()["error"]
        equal(refused["code"], "confirmation_required", "data does not come back, so it is asked for")
        check((w.repo / "trees/shop/1").is_dir(), "nothing happened")
        contains(w.envctl(*gone, "--yes", "--headless", rc=0).err, "the data of shop-1/redis (", "told")
        check(not (w.repo / "trees/shop/1").exists(), "the worktree is in the trash")
        left = [p.parent.name for p in data.path.rglob("redis") if p.is_dir()]
        equal(left, ["shop-2"], "the other one's data stays")
        equal(get(backend_url(w, "shop-2"), "/incr"), "1", "and runs")


@test
def everything_of_this_repository(w):
    with Data(w) as data:
        configure(w, postgres=False)
        w.write("todo/plans/app/one.md", "# one\n")
        w.commit()
        equal(w.envctl("blast-all", rc=0).out, "There is nothing of this repository.\n", "nothing yet")
        w.start(timeout=60)
        equal(get(backend_url(w), "/incr"), "1", "counter")
        # Another repository with the same runtime root: what it has stays.
        ports = w.runtime / "engine/ports.json"
        table = json.loads(ports.read_text())
        alien = {**table["entries"][0], "scope": "repo-0123456789ab", "port": 1}
        ports.write_text(json.dumps({**table, "entries": table["entries"] + [alien]}))
        dry = w.envctl("blast-all", "--dry-run", rc=0).out
        contains(dry, "would stop Main Backend, Main/redis\n", "what it would stop")
        contains(dry, "would clear what is saved about earlier runs, and 2 reserved ports\n", "what it would clear")
        contains(dry, "would keep the data of 1 dependencies\n", "what stays")
        equal(w.envctl("blast-all", "--json", rc=1).json()["error"]["code"], "confirmation_required", "asked")
        # On a terminal it asks, and no is no.
        t = on_terminal(w, BIN, "blast-all")
        try:
            wait_for(lambda: "Really? [y/N]" in t.screen(), "the question")
            t.keys("n", "Enter")
            equal(t.exit_code(), 1, "no")
        finally:
            t.close()
        check(w.state()["state"]["services"]["Main Backend"]["live"], "nothing happened")
        done = w.envctl("blast-all", "--yes", rc=0, timeout=60).out
        contains(done, "Stopped everything and cleared what was saved.\n", "done")
        equal([e["scope"] for e in json.loads(ports.read_text())["entries"]], ["repo-0123456789ab"], "reserved ports")
        equal(list((w.runtime / "engine").glob("repo-*/runs")), [], "earlier runs")
        w.start(timeout=60)
        equal(get(backend_url(w), "/incr"), "2", "the data stayed")
        done = w.envctl("blast-all", "--yes", "--blast-remove-main-volumes", "--json", rc=0, timeout=60).json()
        equal(names(done["data"]), ["Main/redis"], "with the data")
        equal([p for p in data.path.rglob("redis") if p.is_dir()], [], "it is gone")
        ports.write_text(json.dumps({**table, "entries": []}))


main()
