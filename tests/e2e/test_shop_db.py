#!/usr/bin/env python3
"""examples/shop-db: a product whose backend keeps its rows in Postgres and its carts in Redis, native and in containers."""

from deps import Data, components
from docker_lib import daemon, images
from lib import check, equal, main, test
from shop import buy, stock, total


def backend(w, project="Main"):
    return w.saved_state()["services"][f"{project} Backend"]["url"].replace("localhost", "127.0.0.1")


def sold_stays_sold(w, timeout=60):
    w.envctl("start", "--headless", rc=0, timeout=timeout)
    cart = buy(backend(w), "lamp", 3)
    equal(stock(backend(w), "lamp"), 9, "lamps left")
    front = w.saved_state()["services"]["Main Frontend"]["url"]
    equal(stock(front, "lamp"), 9, "the same through the frontend")
    w.envctl("stop", "--headless", rc=0)
    w.envctl("start", "--headless", rc=0, timeout=timeout)
    equal(stock(backend(w), "lamp"), 9, "lamps left after a stop and a start")
    equal(total(backend(w), cart), 1200, "the cart is there too")


def side_by_side(w, timeout=60):
    """Two worktrees, each of which sells another number of lamps."""
    for n in ("1", "2"):
        w.git("worktree", "add", "-q", "-b", f"shop-{n}", str(w.repo / f"trees/shop/{n}"))
    w.envctl("start", "--trees", "--headless", "--project", "shop-1", "--project", "shop-2", rc=0, timeout=timeout)
    carts = {n: buy(backend(w, f"shop-{n}"), "lamp", n) for n in (1, 2)}
    for n in (1, 2):
        url = backend(w, f"shop-{n}")
        equal(stock(url, "lamp"), 12 - n, f"lamps in shop-{n}")
        equal((total(url, carts[n]), total(url, carts[3 - n])), (1200, None), f"carts of shop-{n}")


@test
def native(w):
    with Data(w):
        w.shop("shop-db")
        sold_stays_sold(w)


@test
def worktrees(w):
    with Data(w):
        w.shop("shop-db")
        side_by_side(w)
        pids = {c["pid"] for p in ("shop-1", "shop-2") for c in components(w.saved_state(), p).values()}
        equal(len(pids), 4, "servers")


@test
def worktrees_on_shared_servers(w):
    with Data(w):
        w.shop("shop-db")
        with (w.repo / ".envctl").open("a") as config:
            config.write("ENVCTL_POSTGRES_SCOPE=shared\nENVCTL_REDIS_SCOPE=shared\n")
        w.commit()
        side_by_side(w)
        state = w.saved_state()
        parts = [components(state, p)["postgres"] for p in ("shop-1", "shop-2")]
        equal(len({p["final"] for p in parts}), 1, "one server")
        equal(len({p["access"]["name"] for p in parts}), 2, "two databases")
        check(all("pid" not in p for p in parts), "no process of their own")
        equal(sorted(components(state, "@shared")), ["postgres", "redis"], "the servers")


@test(timeout=300)
def in_containers(w):
    with Data(w), daemon(w) as docker:
        images(docker)
        w.shop("shop-db")
        with (w.repo / ".envctl").open("a") as config:
            config.write("ENVCTL_POSTGRES_IMAGE=postgres:test\nENVCTL_REDIS_IMAGE=redis:test\n")
        w.commit()
        sold_stays_sold(w, timeout=150)
        w.envctl("stop-all", "--headless", rc=0)
        side_by_side(w, timeout=150)
        providers = {c["provider"] for p in ("shop-1", "shop-2") for c in components(w.saved_state(), p).values()}
        equal(providers, {"docker"}, "providers")


main()
