#!/usr/bin/env python3
"""A stranger grabs a service's port at a random moment of its start: what he answers is never taken for the service.
ENVCTL_ROUNDS=200 is the long form; ENVCTL_SEED repeats a run."""

import json
import random
import signal
import subprocess

from lib import BIN, PATIENCE, SEED, Proc, check, contains, equal, main, owner_of, rounds, test

# Waits (for a file, if one is named), then listens on the port in one of the ways a program may, and answers like a healthy web server for a while.
STRANGER = """
import os, socket, sys, time
host, port, delay, reuse, life = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == '1', float(sys.argv[5])
time.sleep(delay)
while len(sys.argv) > 6 and not os.path.exists(sys.argv[6]): time.sleep(0.001)
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
if reuse: s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
end = time.monotonic() + life
while True:
    try:
        s.bind((host, port)); s.listen(); break
    except OSError:
        if time.monotonic() > end: sys.exit(0)
        time.sleep(0.001)
s.settimeout(0.05)
while time.monotonic() < end:
    try: c, _ = s.accept()
    except TimeoutError: continue
    c.recv(4096); c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok'); c.close()
"""


def race(w, rng, service_delay):
    # Half of them want the very address; some come before the ports are looked at, most while the service gets ready.
    host = rng.choice(["127.0.0.1", "127.0.0.1", "0.0.0.0", "::1", "::", "127.0.0.2"])
    arguments = [host, w.port, rng.uniform(0, service_delay * 1.5), rng.randint(0, 3) and 1, 3 * PATIENCE]
    stranger = subprocess.Popen(
        ["/usr/bin/python3", "-S", "-c", STRANGER, *map(str, arguments)],
        env={"PATH": "/usr/bin:/bin"}, cwd="/", stdin=subprocess.DEVNULL,
    )
    w.decoys.append(stranger)
    what = f"stranger {arguments}"
    try:
        result = w.run(BIN, "start", "--headless", "--json")
        document = result.json()
        ready = [e for e in w.events() if e["event"] == "service.ready" and e["run_id"] == w.saved_state()["run_id"]]
        if result.rc == 0:
            service = w.saved_state()["services"]["Main Backend"]
            own = owner_of(service["actual_port"], [Proc(service["pid"])])
            check(own is not None, f"{what}: ready, but the port {service['actual_port']} is not the service's\n{result}")
            return "ready"
        check(not ready, f"{what}: a ready event although the start failed\n{result}")
        contains(document["error"]["message"] + json.dumps(document["error"]), str(w.port), f"{what}: the error")
        return document["error"]["code"]
    finally:
        stranger.send_signal(signal.SIGKILL)
        stranger.wait()
        w.decoys.remove(stranger)
        w.stop_all()
        w.gone()


@test(timeout=900)
def a_stranger_is_never_ready(w):
    delay = 0.15
    w.services(backend=f"--delay {delay}", ENVCTL_SERVICE_LISTENER_TIMEOUT="6")
    rng = random.Random(SEED)
    outcomes = {}
    for _ in range(rounds(40)):
        outcome = race(w, rng, delay)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(f"# outcomes: {outcomes}")


@test
def a_service_that_never_listens_is_not_ready_by_a_stranger(w):
    """The stranger stands on the port for the whole time and answers; the service does nothing."""
    began = w.base / "began"  # the service writes it: its port was looked at before
    w.services(backend=f"--never-listen --dump-fds {began}", ENVCTL_SERVICE_LISTENER_TIMEOUT="4")
    stranger = subprocess.Popen(
        ["/usr/bin/python3", "-S", "-c", STRANGER, "127.0.0.1", str(w.port), "0", "1", "600", str(began)],
        env={"PATH": "/usr/bin:/bin"}, cwd="/", stdin=subprocess.DEVNULL,
    )
    w.decoys.append(stranger)
    result = w.envctl("start", "--headless", "--json", rc=1)
    error = result.error()
    equal(error["code"], "service_not_ready", "code")
    contains(error["message"], str(stranger.pid), "who holds the port")
    check(stranger.poll() is None, "the stranger was harmed")


if __name__ == "__main__":
    main()
