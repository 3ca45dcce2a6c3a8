#!/usr/bin/env python3
"""Start to both ready, stop, and again, many times: nothing is left, nothing grows."""

import os

from lib import check, equal, main, rounds, test, wait_for


def files_outside_runs(w):
    found = []
    for directory, _, files in os.walk(w.runtime):
        found += [os.path.join(directory, f) for f in files if "/runs/" not in directory + "/"]
    return sorted(found)


@test(timeout=400)
def shop_cycles_leave_nothing(w):
    w.shop()
    after_first = None
    for n in range(rounds(50)):
        result = w.start("--json").json()
        equal([s["status"] for s in result["services"]], ["ready", "ready"], f"round {n + 1}: status")
        w.stop_all()
        w.gone()
        equal(w.stray_files(), [], f"round {n + 1}: stray files")
        equal(w.cgroups(), [], f"round {n + 1}: control groups")
        after_first = after_first or files_outside_runs(w)
        equal(files_outside_runs(w), after_first, f"round {n + 1}: files outside runs/")


@test(timeout=200)
def a_keeper_that_stays_does_not_grow(w):
    """The backend keeps its keeper alive while the frontend comes and goes."""
    w.services(backend="", frontend="")
    w.start()
    keeper = w.keepers()[0]

    def cycle():
        w.envctl("stop", "--service", "frontend", rc=0)
        w.start()

    for _ in range(3):  # what is opened once, on first use, is open now
        cycle()

    # Sockets and pipes have a number in their name: only how many there are counts. The connection of a client that has ended is
    # there for a moment.
    def kinds():
        return sorted(f.split(":")[0] for f in keeper.fds().values())

    wait_for(lambda: kinds().count("socket") == 1, lambda: f"only the listening socket, of {kinds()}")
    before = kinds()
    for _ in range(rounds(50)):
        cycle()
    check(keeper.alive, "the keeper is the same")
    wait_for(lambda: kinds() == before, lambda: f"the keeper's descriptors to be {before}, not {kinds()}")
    children = [p for p in w.processes() if p.ppid == keeper.pid]
    equal(len(children), 2, "the keeper's children")


if __name__ == "__main__":
    main()
