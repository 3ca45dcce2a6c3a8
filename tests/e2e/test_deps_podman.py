#!/usr/bin/env python3
"""Postgres and Redis in containers of podman, where there is no docker daemon: nothing of it is simulated."""

import os
import signal

from deps import Data, argvs, components, configure, files_with, get
from docker_lib import images, log_of_a_container, podman, redis_image
from lib import Skipped, check, contains, equal, listens, main, test, wait_for


def backend_url(w):
    return w.saved_state()["services"]["Main Backend"]["url"].replace("localhost", "127.0.0.1")


def containers(engine, *args):
    return engine("ps", "-q", "--no-trunc", *args).stdout.decode().split()


def volumes(engine):
    return engine("volume", "ls", "-q").stdout.decode().split()


def without_docker(w):
    if os.path.exists("/var/run/docker.sock"):
        raise Skipped("a docker daemon of this machine is in the way")
    return Data(w)


@test(timeout=400)
def in_containers(w):
    with without_docker(w) as data, podman(w) as engine:
        images(engine)
        # Strangers with names and labels that look alike.
        engine("volume", "create", "--label", "envctl.project=Main", "--label", "envctl.dependency=postgres", "envctl-postgres-Main")
        stranger = engine("run", "-d", "--name", "envctl-redis-main", "--label", "envctl.project=Main", "redis:test",
                          "redis-server").stdout.decode().strip()
        configure(w, ENVCTL_POSTGRES_IMAGE="postgres:test", ENVCTL_REDIS_IMAGE="redis:test", ENVCTL_POSTGRES_PROVIDER="docker",
                  ENVCTL_REDIS_PROVIDER="docker")
        plan = w.envctl("explain-startup", "--json", rc=0).json()["plan"]["projects"][0]["dependencies"]
        equal([(d["provider"], d["engine"]) for d in plan], [("docker", "podman")] * 2, "what runs them")
        for d in plan:
            contains(d["why"], "; podman: /", "which one, and why")
            contains(d["why"], "docker: no", "instead of")
        w.envctl("start", "--headless", rc=0, timeout=150)
        parts = components(w.saved_state())
        equal(get(backend_url(w), "/put?kept"), "ok", "put")
        equal(get(backend_url(w), "/incr"), "1", "counter")
        equal({part["engine"] for part in parts.values()}, {"podman"}, "recorded")
        ids = {part["container_id"] for part in parts.values()}
        for id in ids:
            published = engine("port", id).stdout.decode()
            contains(published, "127.0.0.1:", "published on loopback")
            check("0.0.0.0" not in published, "and nowhere else")
        for secret in data.passwords():
            check(secret not in argvs(), "no password in an argument")
            equal(files_with(w.base, secret) + files_with(data.path, secret), [], "files with a password")
        # Somebody kills one; the next start brings it back with its data.
        engine("kill", parts["postgres"]["container_id"])
        wait_for(lambda: components(w.state()["state"])["postgres"]["live"] is False, "the truth")
        wait_for(lambda: "database system is ready" in w.envctl("errors").out, "what it said last")
        w.envctl("start", "--headless", rc=0, timeout=150)
        equal(get(backend_url(w), "/rows"), '["kept"]', "rows")
        # A killed keeper: adopted by the next one.
        for keeper in w.keepers():
            keeper.signal(signal.SIGKILL)
            wait_for(lambda k=keeper: not k.alive, "the keeper to end")
        w.envctl("start", "--headless", rc=0)
        w.envctl("stop", "--headless", rc=0)
        equal(containers(engine), [stranger], "running containers")
        for part in parts.values():
            check(not listens(part["final"]), "its port is free")
        w.envctl("start", "--headless", rc=0, timeout=150)
        equal({c["container_id"] for c in components(w.saved_state()).values()}, ids, "the same containers")
        equal((get(backend_url(w), "/rows"), get(backend_url(w), "/incr")), ('["kept"]', "2"), "data")
        w.envctl("stop-all", "--headless", rc=0)
        w.envctl("data", "reset", "postgres", "--project", "Main", "--yes", rc=0)
        ours = [v for v in volumes(engine) if "repo-" in v]
        check(len(ours) == 1 and "redis" in ours[0], f"only redis has a volume left: {ours}")
        w.envctl("stop-all", "--headless", "--remove-volumes", "--yes", rc=0, timeout=60)
        equal(containers(engine, "-a"), [stranger], "what is left")
        check("envctl-postgres-Main" in volumes(engine), "a stranger's volume")
        equal([v for v in volumes(engine) if "repo-" in v], [], "ours are gone")
        # A missing image: said, and nothing stays.
        configure(w, postgres=False, ENVCTL_REDIS_IMAGE="registry.invalid/none:1", ENVCTL_REDIS_PROVIDER="docker")
        failed = w.envctl("start", "--headless", "--json", rc=1, timeout=150).json()["error"]
        equal((failed["code"], failed["where"]), ("dependency_failed", "Main/redis"), "error")


@test
def what_a_container_says(w):
    with without_docker(w), podman(w) as engine:
        redis_image(engine)
        configure(w, postgres=False, ENVCTL_REDIS_IMAGE="redis:test", ENVCTL_REDIS_PROVIDER="docker")
        w.envctl("start", "--headless", rc=0, timeout=150)
        log_of_a_container(w, engine, components(w.saved_state())["redis"])


@test
def which_engine(w):
    """Looked for, never asked: a plan runs nothing."""
    w.write("bin/podman", "#!/bin/sh\nexit 3\n", 0o755)

    def plan(**keys):
        configure(w, postgres=False, **keys)
        return w.envctl("explain-startup", "--json", rc=0).json()["plan"]["projects"][0]["dependencies"][0]

    with without_docker(w):
        w.env["PATH"] = f"{w.repo}/bin:{w.env['PATH']}"
        chosen = plan(ENVCTL_REDIS_PROVIDER="docker")
        equal((chosen["provider"], chosen["engine"]), ("docker", "podman"), "there is no docker")
        contains(chosen["why"], f"; podman: {w.repo}/bin/podman", "said")
        equal(plan()["provider"], "native", "auto takes a server that is here before an image that may have to be fetched")
        # A docker daemon that is down has volumes of its own: podman would start without their data.
        w.env["DOCKER_HOST"] = f"unix://{w.base}/none.sock"
        configure(w, postgres=False, ENVCTL_REDIS_PROVIDER="docker")
        refused = w.envctl("start", "--headless", "--json", rc=1).json()["error"]
        equal(refused["code"], "docker_unavailable", "nothing takes its place")


main()
