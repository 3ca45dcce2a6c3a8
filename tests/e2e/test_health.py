#!/usr/bin/env python3
"""Checks of services while they run: who is brought back, who is only called unhealthy, and that the checks survive the keeper."""

from lib import Proc, check, contains, equal, main, test, wait_for

SERVER = """import http.server, os, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if os.path.exists("sick") else 200)
        self.end_headers()
    def log_message(self, *a):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
"""

SCRIPT = """return {
  envctl = 1,
  services = {
    api = {
      command = "python3 server.py ${port}", restart = "%s", groups = { "app" },
      health = { %s, every_ms = 500, failures = 2, timeout_ms = 5000 },
    },
  },
}
"""


def prepare(w, policy, how='http = "/healthz"'):
    w.configure(MAIN_BACKEND_ENABLE="false", MAIN_FRONTEND_ENABLE="false")
    w.write("server.py", SERVER)
    w.write(".envctl.lua", SCRIPT % (policy, how))
    w.write(".gitignore", "sick\n")
    w.commit()
    w.envctl("script", "trust", rc=0)
    w.start("--service", "app")


def api(w):
    return w.state()["state"]["services"]["Main Api"]


@test
def a_sick_one_is_called_so(w):
    prepare(w, "no")
    pid = api(w)["pid"]
    equal(api(w)["status"], "ready", "at first")
    w.write("sick", "")
    wait_for(lambda: api(w)["status"] == "unhealthy", "it to be found unhealthy")
    contains(w.envctl("health", rc=1).out, "HTTP 503 on /healthz", "health says why")
    contains(w.envctl("errors", rc=1).out, "Main Api is unhealthy: HTTP 503 on /healthz", "errors")
    equal(api(w)["pid"], pid, "it is left alone")
    # A keeper that is killed is followed by one that goes on checking.
    for keeper in w.keepers():
        keeper.signal(9)
    w.envctl("wait", "--timeout", "1")
    w.start()
    (w.repo / "sick").unlink()
    wait_for(lambda: api(w)["status"] == "ready", "it to be found healthy again")
    equal(api(w)["pid"], pid, "still the same")
    w.envctl("health", rc=0)


@test
def a_sick_one_is_brought_back(w):
    prepare(w, "on-failure")
    first = Proc(api(w)["pid"])
    w.write("sick", "")
    wait_for(lambda: not first.alive, "it to be ended")
    (w.repo / "sick").unlink()
    wait_for(lambda: api(w)["status"] == "ready" and api(w)["pid"] != first.pid, "another one to be ready")
    equal(api(w)["restarts"] > 0, True, "it is counted")
    w.envctl("health", rc=0)


@test
def a_command_decides(w):
    prepare(w, "no", 'command = { "sh", "-c", "test ! -e sick" }')
    w.write("sick", "")
    wait_for(lambda: api(w)["status"] == "unhealthy", "it to be found unhealthy")
    contains(w.envctl("health", rc=1).out, "`sh -c test ! -e sick` exited with code 1", "health says why")
    (w.repo / "sick").unlink()
    wait_for(lambda: api(w)["status"] == "ready", "it to be well again")
    w.envctl("stop", "--service", "app", rc=0)  # its group
    check(not w.service_processes(), "stopped like any other")


main()
