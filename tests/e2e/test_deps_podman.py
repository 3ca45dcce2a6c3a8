#!/usr/bin/env python3
"""Postgres and Redis in containers of podman, where there is no docker daemon: nothing of it is simulated."""

import os

from deps import Data, components, configure
from docker_lib import a_missing_image, images, life_of_containers, log_of_a_container, podman, redis_image
from lib import Skipped, contains, equal, main, test


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
        life_of_containers(w, data, engine, "podman", stranger)
        a_missing_image(w)


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
