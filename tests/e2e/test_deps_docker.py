#!/usr/bin/env python3
"""Postgres and Redis in containers: a dockerd of the test's own, images made from the programs of this machine."""

import base64
import hashlib
import hmac
import json
import shutil
import socket

from deps import Data, argvs, components, configure, files_with, get
from docker_lib import (
    a_missing_image, backend_url, containers, daemon, images, life_of_containers, log_of_a_container, redis_image, supabase_images,
)
from lib import BIN, PYTHON, SVC, Proc, Skipped, check, contains, equal, main, test, wait_for


@test
def in_containers(w):
    with Data(w) as data, daemon(w) as docker:
        images(docker)
        # Strangers with names and labels that look alike.
        docker("volume", "create", "envctl-postgres-Main")
        stranger = docker("run", "-d", "--name", "envctl-redis-main", "--label", "envctl.project=Main", "redis:test",
                          "redis-server").stdout.decode().strip()
        configure(w, ENVCTL_POSTGRES_IMAGE="postgres:test", ENVCTL_REDIS_IMAGE="redis:test")
        plan = w.envctl("explain-startup", "--json", rc=0).json()["plan"]["projects"][0]["dependencies"]
        equal([d["provider"] for d in plan], ["docker", "docker"], "auto takes the daemon that answers")
        life_of_containers(w, data, docker, "docker", stranger)
        a_missing_image(w)


@test
def what_a_container_says(w):
    with Data(w), daemon(w) as docker:
        redis_image(docker)
        configure(w, postgres=False, ENVCTL_REDIS_IMAGE="redis:test", ENVCTL_REDIS_PROVIDER="docker")
        w.envctl("start", "--headless", rc=0, timeout=150)
        log_of_a_container(w, docker, components(w.saved_state())["redis"])


@test
def a_container_on_another_port(w):
    """ENVCTL_REQUIREMENTS_PORT_MISMATCH_POLICY: it stays where it is, or is made anew on its volume."""
    with Data(w), daemon(w) as docker:
        redis_image(docker)
        keys = {"postgres": False, "ENVCTL_REDIS_IMAGE": "redis:test", "ENVCTL_REDIS_PROVIDER": "docker"}
        policy = "ENVCTL_REQUIREMENTS_PORT_MISMATCH_POLICY"

        def started():
            w.envctl("start", "--headless", rc=0, timeout=150)
            part = components(w.saved_state())["redis"]
            return part["final"] - w.port, part["container_id"], get(backend_url(w), "/incr")

        configure(w, **keys)
        first = started()
        equal((first[0], first[2]), (60, "1"), "where it begins")
        configure(w, REDIS_PORT=w.port + 65, **{policy: "adopt_existing"}, **keys)
        plan = w.envctl("explain-startup", "--json", rc=0).json()["plan"]["projects"][0]["dependencies"][0]
        equal((plan["port"] - w.port, plan["action"]), (60, "keep"), "what runs stays where it is")
        contains(plan["why"], "a container that is there stays on its port", "said")
        w.stop_all()
        equal(started(), (60, first[1], "2"), "and what is there stays as well")
        w.stop_all()
        configure(w, REDIS_PORT=w.port + 65, **keys)
        moved = started()
        equal((moved[0], moved[2]), (65, "3"), "made anew where it is planned, on its volume")
        check(moved[1] != first[1], "another container")
        equal(containers(docker, "-a"), [moved[1]], "the old one is gone")


@test
def a_daemon_that_is_killed(w):
    """The containers live on (live-restore). What can be known is said, and nothing is started twice."""
    with Data(w), daemon(w) as docker:
        redis_image(docker)
        configure(w, postgres=False, ENVCTL_REDIS_IMAGE="redis:test", ENVCTL_REDIS_PROVIDER="docker")
        w.envctl("start", "--headless", rc=0, timeout=150)
        equal(get(backend_url(w), "/incr"), "1", "counter")
        part = components(w.saved_state())["redis"]
        docker.kill()
        equal(components(w.state()["state"])["redis"]["live"], True, "its process is there, daemon or not")
        refused = w.envctl("start", "--headless", "--json", rc=1).json()["error"]
        equal(refused["code"], "docker_unavailable", "what cannot be asked is not planned with")
        equal(len(w.service_processes()), 1, "and what runs is left alone")
        stopped = w.envctl("stop-all", "--headless", "--json", rc=1, timeout=60).json()
        contains(str(stopped), "the docker daemon does not", "what cannot be stopped is said")
        check(Proc(part["pid"]).alive, "and runs still")
        logs = w.envctl("logs", "--service", "redis", rc=0)
        contains(logs.err, "docker daemon", "a log that cannot be had is said to be so")
        check("Cannot connect" not in logs.out, "and what docker says about that is no line of it")
        docker.start()
        # The proxy of its port died with the daemon and is made again with the container.
        w.envctl("stop-all", "--headless", rc=0, timeout=60)
        equal(containers(docker), [], "running containers")
        w.envctl("start", "--headless", rc=0, timeout=150)
        equal(get(backend_url(w), "/incr"), "2", "no data is lost")
        # Killed while a container is being started.
        w.envctl("stop-all", "--headless", rc=0, timeout=60)
        start = w.spawn(BIN, "start", "--headless")
        wait_for(lambda: containers(docker), "the container to run")
        docker.kill()
        equal(start.wait(timeout=90) in (0, 1), True, "it ends")
        docker.start()
        w.envctl("start", "--headless", rc=0, timeout=150)
        equal(get(backend_url(w), "/incr"), "3", "still none")


def verified(token, secret):
    """The claims of a token whose signature is right."""
    head, body, signature = token.split(".")
    made = hmac.new(secret.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    equal(base64.urlsafe_b64encode(made).rstrip(b"=").decode(), signature, "signature")
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


@test
def supabase(w):
    with Data(w) as data, daemon(w) as docker:
        supabase_images(docker, w.base)
        configure(w, postgres=False, redis=False, MAIN_SUPABASE_ENABLE=True, SUPABASE_DB_IMAGE="postgres:test",
                  SUPABASE_AUTH_IMAGE="gotrue:test", SUPABASE_KONG_IMAGE="kong:test")
        explained = w.envctl("explain-startup", "--json", rc=0)
        plan = explained.json()["plan"]["projects"][0]
        parts = ["supabase", "supabase-auth", "supabase-gateway"]
        equal([(d["id"], d["layer"]) for d in plan["dependencies"]], list(zip(parts, (1, 2, 3))), "plan")
        check("~envctl~" not in explained.out, "nothing of what only the keeper knows is shown, not even its place")
        w.envctl("start", "--headless", rc=0, timeout=150)
        env = next(p for p in w.service_processes() if "dbapp.py" in " ".join(p.argv)).environ()
        equal(get(backend_url(w), "/put?kept"), "ok", "the backend uses the database")
        (secret, *others) = data.passwords()
        equal((others, env["SUPABASE_DB_PASSWORD"], env["DB_PASSWORD"]), ([], secret, secret), "one password")
        url, jwt = get(env["SUPABASE_URL"].replace("localhost", "127.0.0.1"), "/auth/v1/any").splitlines()
        contains(url, f"postgres://postgres:{secret}@supabase:5432/", "what the auth server was told, through the gateway")
        equal(jwt, env["SUPABASE_JWT_SECRET"], "its secret")
        equal(verified(env["SUPABASE_ANON_KEY"], jwt)["role"], "anon", "a key for everybody")
        equal(verified(env["SUPABASE_SERVICE_ROLE_KEY"], jwt)["role"], "service_role", "a key for servers")
        for hidden in (secret, jwt, env["SUPABASE_ANON_KEY"]):
            check(hidden not in argvs(), "nothing secret in an argument")
            equal(files_with(w.base, hidden) + files_with(data.path, hidden), [], "files with a secret")
        w.envctl("stop", "--headless", rc=0, timeout=60)
        equal(containers(docker), [], "running containers")
        docker("network", "prune", "-f")
        w.envctl("start", "--headless", rc=0, timeout=150)
        equal(get(backend_url(w), "/rows"), '["kept"]', "rows")
        now = next(p for p in w.service_processes() if "dbapp.py" in " ".join(p.argv)).environ()
        equal(now["SUPABASE_ANON_KEY"], env["SUPABASE_ANON_KEY"], "keys last as long as the data")
        w.envctl("stop-all", "--headless", "--remove-volumes", "--yes", rc=0, timeout=60)
        equal(containers(docker, "-a"), [], "containers")
        left = [docker(kind, "ls", "-q", "--filter", "label=envctl.scope").stdout for kind in ("volume", "network")]
        equal(left, [b"", b""], "volumes and networks")


@test
def dependencies_of_a_script(w):
    """An image that a script names: ports, kept directories, hidden variables and every kind of readiness."""
    with Data(w) as data, daemon(w) as docker:
        redis_image(docker)
        run = 'args = { "sh", "-c", "exec redis-server --requirepass $PASS --dir /data --appendonly yes" }'
        more = 'image = "redis:test", env = { PASS = "${password}" }, ' + run
        w.write(".envctl.lua", '''return { envctl = 1, dependencies = {
  cache = { %s, ports = { redis = { base = %d, container = 6379 } }, volumes = { "/data" },
    provides = { CACHE_PORT = "${port}", CACHE_PASSWORD = "${password}" } },
  said = { %s, ready = { log = "Ready to accept connections" } },
  asked = { %s, needs = { "said" }, ready = { command = { "sh", "-c", "REDISCLI_AUTH=$PASS redis-cli ping" } } },
}, services = { api = { command = "%s -S -E %s --port ${port}", port = %d } } }
''' % (more, w.port + 50, more, more, PYTHON, SVC, w.port))
        w.envctl("script", "trust", rc=0)
        w.envctl("start", "--headless", rc=0, timeout=150)
        parts = components(w.saved_state())
        equal({i: p["provider"] for i, p in parts.items()}, {"cache": "docker", "said": "docker", "asked": "docker"}, "providers")
        env = w.service_processes()[0].environ()
        equal(env["CACHE_PORT"], str(parts["cache"]["final"]), "a source")

        def redis(*words):
            return docker("exec", parts["cache"]["container_id"], "sh", "-c",
                          f"REDISCLI_AUTH=$PASS redis-cli {' '.join(words)}").stdout.decode().strip()

        equal(redis("set", "kept", "yes"), "OK", "set")
        contains(docker("port", parts["cache"]["container_id"]).stdout.decode(), "127.0.0.1:", "published on loopback")
        for secret in data.passwords():
            check(secret not in argvs(), "no password in an argument")
            equal(files_with(w.base, secret) + files_with(data.path, secret), [], "files with a password")
        w.stop_all()
        equal(containers(docker), [], "running containers")
        # Another image of the same data: a new container on the old volume.
        docker("tag", "redis:test", "redis:other")
        w.write(".envctl.lua", (w.repo / ".envctl.lua").read_text().replace('cache = { image = "redis:test"',
                                                                          'cache = { image = "redis:other"'))
        w.envctl("script", "trust", rc=0)
        w.envctl("start", "--headless", rc=0, timeout=150)
        now = components(w.saved_state())
        check(now["cache"]["container_id"] != parts["cache"]["container_id"], "a new container")
        equal(now["said"]["container_id"], parts["said"]["container_id"], "the others are as they were")
        parts = now
        equal(redis("get", "kept"), "yes", "data")
        w.envctl("stop-all", "--headless", "--remove-volumes", "--yes", rc=0)
        equal(containers(docker, "-a"), [], "containers")
        equal([v for v in docker("volume", "ls", "-q").stdout.decode().split() if "repo-" in v], [], "volumes")


def a_strangers_container(w, address, *options):
    """R26: what a running container publishes is held by a socket of docker's, so it is stepped over; a stopped one holds nothing."""
    w.services(backend="")

    def started(*args):
        said = w.start(*args).err
        port = w.saved_state()["services"]["Main Backend"]["actual_port"]
        check(get(backend_url(w)), "the backend answers")
        w.stop_all()
        return port, said

    with daemon(w, *options) as docker:
        redis_image(docker)
        made = docker("run", "-d", "-p", f"{address}:{w.port}:6379", "redis:test", "redis-server")
        equal(made.returncode, 0, made.stderr.decode())
        container = made.stdout.decode().strip()
        port, said = started()
        equal(port, w.port + 1, "the next port")
        contains(said, f"port {w.port} of Main/backend is held by pid ", "who has it")
        contains(said, "docker", "is docker")
        docker("kill", container)
        equal(started()[0], w.port + 1, "ports do not wander")
        w.start("--clear-port-state")
        equal(w.saved_state()["services"]["Main Backend"]["actual_port"], w.port, "a stopped one holds nothing")
        again = docker("start", container)
        check(again.returncode != 0 and b"address already in use" in again.stderr, f"docker says so when it comes back: {again}")


@test
def a_strangers_container_behind_a_proxy(w):
    a_strangers_container(w, "127.0.0.1")


@test
def a_strangers_container_without_a_proxy(w):
    a_strangers_container(w, "0.0.0.0", "--userland-proxy=false")


@test
def a_daemon_that_is_not_there_or_hangs(w):
    with Data(w):
        if not shutil.which("docker"):
            raise Skipped("there is no docker command")
        configure(w, postgres=False, ENVCTL_REDIS_PROVIDER="docker")
        w.env["DOCKER_HOST"] = f"unix://{w.base}/none.sock"
        failed = w.envctl("start", "--headless", "--json", rc=1).json()["error"]
        equal(failed["code"], "docker_unavailable", "no socket")
        # Accepts and never says anything.
        path = str(w.base / "hung.sock")
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen(64)
        w.env["DOCKER_HOST"] = f"unix://{path}"
        result = w.envctl("start", "--headless", "--json", rc=1, timeout=40)
        equal(result.json()["error"]["code"], "docker_unavailable", "hung")
        # Looking does not wait for it: no docker command is run.
        asked, fake = w.base / "asked", w.base / "bin/docker"
        fake.parent.mkdir()
        fake.write_text(f'#!/bin/sh\necho "$@" >>{asked}\n')
        fake.chmod(0o755)
        w.envctl("explain-startup", "--json", rc=0, env={"PATH": f"{fake.parent}:{w.env['PATH']}"})
        check(not asked.exists(), "looking asks the daemon")
        w.envctl("stop-all", "--headless", rc=0)
        server.close()


main()
