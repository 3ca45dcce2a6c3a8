#!/usr/bin/env python3
"""Dependencies that a script describes, and n8n, which is described as well: as processes of this machine. Containers of them are in
test_deps_docker."""

import os
import signal
import socket
import sys

from deps import Data, argvs, components, files_with, get
from lib import PYTHON, TOP, check, contains, equal, listens, main, test, wait_for

# Listens on every port it is given, says its environment's TOKEN on HTTP, and writes when it was told to end.
SERVER = '''
import http.server, os, signal, socket, sys, threading, time
name, ports = sys.argv[1], [int(p) for p in sys.argv[2:]]
def end(*_):
    with open(os.environ["ENDINGS"], "a") as f:
        f.write(name + "\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        missing = self.path == os.environ.get("MISSING")
        self.send_response(404 if missing else 200)
        self.end_headers()
        self.wfile.write(os.environ.get("TOKEN", "").encode())
    def log_message(self, *_):
        pass
others = [socket.create_server(("127.0.0.1", p)) for p in ports[1:]]
print("waits", flush=True)
time.sleep(0.2)
print("open for business", flush=True)
if ports:
    http.server.ThreadingHTTPServer(("127.0.0.1", ports[0]), Page).serve_forever()
while True:
    time.sleep(60)
'''


def script(w, dependencies, needs=""):
    w.write("tools/standin", SERVER)
    (w.repo / ".gitignore").write_text("endings\n")
    run = f"{PYTHON} -S -E tools/standin"
    api = f"{PYTHON} -S -E {TOP / 'tests/fixtures/svc.py'} --port ${{port}}"
    text = dependencies.replace("@RUN@", run)
    w.write(".envctl.lua", f"""return {{ envctl = 1,
  dependencies = {{ {text} }},
  services = {{ api = {{ command = "{api}", port = {w.port}{needs} }} }},
}}
""")
    w.env["ENDINGS"] = str(w.repo / "endings")
    w.envctl("script", "trust", rc=0)


def start(w, **more):
    return w.envctl("start", "--headless", **{"rc": 0, **more})


def environ_of_api(w):
    return next(p for p in w.service_processes() if "svc.py" in " ".join(p.argv)).environ()


@test
def a_dependency_of_a_script_lives_like_the_others(w):
    with Data(w) as data:
        script(w, """
    mail = {
      command = "@RUN@ mail ${ports.http} ${ports.smtp}", ports = { smtp = %d, http = %d },
      env = { TOKEN = "${password}", PLACE = "${project}:${port}" }, ready = { http = "/" },
      provides = { SMTP_URL = "smtp://127.0.0.1:${ports.smtp}", MAIL_PASSWORD = "${password}", MAIL_URL = "${url}" },
    },
    relay = { command = "@RUN@ relay", needs = { "mail" }, ready = { log = "open for business" } },
""" % (w.port + 20, w.port + 40), needs=', needs = { "relay" }')
        plan = w.envctl("explain-startup", "--json", rc=0).json()["plan"]["projects"][0]["dependencies"]
        equal([(d["id"], d["provider"], d["layer"], d["needs"]) for d in plan],
              [("mail", "command", 1, []), ("relay", "command", 2, ["mail"])], "plan")
        equal(plan[0]["provides"]["MAIL_PASSWORD"], "***", "a password in a plan")
        text = w.envctl("explain-startup", rc=0).out
        for part in (f"tools/standin mail {w.port + 40} {w.port + 20}", f"also listens: smtp {w.port + 20}", "after mail"):
            contains(text, part, "explained")
        start(w)
        parts = components(w.saved_state())
        mail = parts["mail"]
        equal({n: listens(p) for n, p in mail["ports"].items()}, {"smtp": True, "http": True}, "its ports")
        env = environ_of_api(w)
        equal(env["SMTP_URL"], f"smtp://127.0.0.1:{mail['ports']['smtp']}", "a source")
        equal(env["MAIL_URL"], f"http://localhost:{mail['ports']['http']}", "another one")
        (secret,) = data.passwords()
        equal(env["MAIL_PASSWORD"], secret, "the password, in the service")
        equal(get(f"http://127.0.0.1:{mail['ports']['http']}"), secret, "and in the dependency")
        check(secret not in argvs(), "no password in an argument")
        equal(files_with(w.base, secret) + files_with(data.path, secret), [], "files with the password")
        contains(w.envctl("health", rc=0).out, "Main/relay", "health")
        equal(w.envctl("endpoints", "--json", rc=0).json()["dependencies"]["mail"]["url"], env["MAIL_URL"], "its address")
        # Nothing changes, nothing moves; also under the next keeper.
        for keeper in w.keepers():
            keeper.signal(signal.SIGKILL)
            wait_for(lambda k=keeper: not k.alive, "the keeper to end")
        start(w)
        equal({i: p["pid"] for i, p in components(w.saved_state()).items()}, {i: p["pid"] for i, p in parts.items()}, "pids")
        # Killed behind our back: seen, and back with the next start.
        os.kill(mail["pid"], signal.SIGKILL)
        wait_for(lambda: components(w.state()["state"])["mail"]["live"] is False, "the truth")
        start(w)
        check(components(w.saved_state())["mail"]["pid"] != mail["pid"], "a new one")
        w.envctl("stop", "--headless", rc=0)
        equal((w.repo / "endings").read_text().split(), ["relay", "mail"], "what needs others ends first")
        equal([p for p in mail["ports"].values() if listens(p)], [], "ports that are still open")
        done = w.envctl("data", "reset", "--project", "Main", "--yes", "--json", rc=0).json()["items"]
        equal([(i["dependency"], i["removed"]) for i in done], [("mail", True), ("relay", True)], "data that is gone")
        equal(data.passwords(), [], "passwords")


@test
def an_override_says_its_ports(w):
    with Data(w):
        w.write(".envctl.lua", """return { envctl = 1,
  dependencies = { mail = { command = "mail", ports = { smtp = %d, http = %d } } },
  override = { ["plan.ports"] = function(base, ctx)
    local ports = base(ctx)
    ports.mail, ports["mail.smtp"] = %d, %d
    return ports
  end },
}
""" % (w.port, w.port + 1, w.port + 2, w.port + 3))
        plan = w.envctl("explain-startup", "--json", rc=0).json()["plan"]["projects"][0]
        equal(plan["dependencies"][0]["ports"], {"http": w.port + 2, "smtp": w.port + 3}, "by the name of the whole, and of a port")


@test
def every_change_is_seen(w):
    with Data(w):
        def run(extra):
            script(w, """mail = { command = "@RUN@ mail ${port}", ports = { http = %d }, %s },""" % (w.port + 40, extra))
            start(w)
            return components(w.saved_state())["mail"]["pid"]

        first = run("")
        equal(run(""), first, "unchanged")
        second = run('env = { API_KEY = "one" }')
        third = run('env = { API_KEY = "two" }')
        check(len({first, second, third}) == 3, "its environment is part of what it is, hidden or not")


@test
def one_that_does_not_come_up(w):
    with Data(w):
        script(w, """bad = { command = "sh -c 'echo no license; exit 3'", ports = { http = %d } },""" % (w.port + 40))
        failed = start(w, rc=1)
        contains(failed.err, "Main/bad exited with code 3", "what")
        contains(failed.err, "no license", "its last words")
        contains(w.envctl("errors", rc=1).out, "no license", "also afterwards")
        equal(w.service_processes(), [], "nothing runs")
        w.env["ENVCTL_REQUIREMENTS_STRICT"] = "false"
        contains(start(w).err, "exited with code 3", "said, and gone on without it")
        contains(w.envctl("errors", "--project", "Main", rc=1).out, "no license", "also afterwards")
        warnings = w.envctl("start", "--headless", "--json", rc=0).json()["warnings"]
        equal([x["where"] for x in warnings], ["Main/bad"], "and in the document of the next start")
        check("svc.py" in " ".join(w.service_processes()[0].argv), "the service runs")


@test
def one_that_others_run(w):
    with Data(w), socket.create_server(("127.0.0.1", 0)) as server:
        script(w, 'broker = { url = "amqp://me:pw%%21x@127.0.0.1:%d/v", provides = { BROKER_URL = "${url}" } },'
               % server.getsockname()[1])
        plan = w.envctl("explain-startup", "--json", rc=0).json()["plan"]["projects"][0]["dependencies"][0]
        equal((plan["provider"], plan["provides"]), ("external", {"BROKER_URL": "***"}), "plan")
        start(w)
        equal(environ_of_api(w)["BROKER_URL"], f"amqp://me:pw%21x@127.0.0.1:{server.getsockname()[1]}/v", "the URL as it is")
        w.stop_all()
        server.close()
        failed = start(w, rc=1)
        contains(failed.err, "nothing answers at 127.0.0.1 port", "it is looked at")


@test
def what_is_wrong_is_said_where_it_stands(w):
    for text, message in (
        ("x = { ports = { http = 1 } },", "says neither image, command nor url"),
        ('x = { command = "y ${password}" },', "dependencies.x.command[2]: a password in a command"),
        ('x = { command = "y ${ports.nope}" },', "dependencies.x.command[2]: ${ports.nope} has no value"),
        ('x = { command = "y", ready = { http = "/" } },', "dependencies.x.ready: it has no ports to look at"),
        ('x = { command = "y", needs = { "redsi" } },', 'there is no dependency "redsi"'),
        ('x = { command = "y", needs = { "z" } }, z = { command = "y", needs = { "x" } },', "need each other"),
        ('x = { command = "y", ready = { command = "z ${nope}" } },', "dependencies.x.ready.command[2]: ${nope} has no value"),
        ('x = { command = "y ${url}" },', "dependencies.x.command[2]: ${url} has no value"),
        ('n8n = { provides = { A = "${nope}" } },', "dependencies.n8n.provides.A: ${nope} has no value"),
        ('x = { image = "y", volumes = { "data" } },', "expected the absolute path of a directory"),
        ('redis = { volumes = { "/x" } },', "redis is built in: its volumes cannot be changed"),
    ):
        w.write(".envctl.lua", "return { envctl = 1,\n  dependencies = { %s },\n}\n" % text)
        error = w.envctl("explain-startup", "--json", rc=1).json()["error"]
        equal((error["code"], error["message"][:15]), ("script_invalid", ".envctl.lua:2: "), "code and place")
        contains(error["message"], message, "message")
        contains(w.envctl("script", "check", rc=1).out, message, "script check")


@test
def one_server_for_all_worktrees(w):
    with Data(w) as data:
        script(w, """bus = { command = "@RUN@ bus ${port}", ports = { http = %d }, scope = "shared",
          env = { TOKEN = "${password}" }, provides = { BUS_PORT = "${port}", BUS_PASSWORD = "${password}" } },""" % (w.port + 40))
        text = (w.repo / ".envctl.lua").read_text()
        (w.repo / ".envctl.lua").write_text(text.replace(f"port = {w.port}", ""))
        w.services(BACKEND_PORT_BASE=w.port)
        w.envctl("script", "trust", rc=0)
        w.commit()
        for n in ("1", "2"):
            w.git("worktree", "add", "-q", "-b", f"shop-{n}", str(w.repo / f"trees/shop/{n}"))
        w.envctl("start", "--trees", "--all", "--headless", rc=0)
        state = w.saved_state()
        equal({p: list(r["components"]) for p, r in state["requirements"].items()},
              {"@shared": ["bus"], "shop-1": ["bus"], "shop-2": ["bus"]}, "holders")
        (secret,) = data.passwords()
        envs = [p.environ() for p in w.service_processes() if "svc.py" in " ".join(p.argv)]
        port = str(components(state, "@shared")["bus"]["final"])
        equal([(e["BUS_PORT"], e["BUS_PASSWORD"]) for e in envs], [(port, secret)] * 2, "what both get")
        w.envctl("stop", "--headless", "--project", "shop-1", rc=0)
        check(listens(int(port)), "used by the other still")
        w.envctl("stop", "--headless", "--project", "shop-2", rc=0)
        check(not listens(int(port)), "it ends with the last user")


@test
def what_it_needs_does_not_run(w):
    with Data(w):
        script(w, 'x = { command = "@RUN@ x", needs = { "redis" }, ready = "none" },')
        error = start(w, rc=1)
        contains(error.err, "x needs redis, which does not run here", "what")
        contains(error.err, "switch it on", "what to do")


@test
def a_service_and_a_dependency_of_one_name(w):
    with Data(w):
        script(w, 'api = { command = "@RUN@ api", ready = "none" },')
        error = w.envctl("start", "--headless", "--json", rc=1).json()["error"]
        equal((error["code"], error["where"]), ("config_invalid", "Main/api"), "refused before anything starts")


@test
def what_scripts_say_about_the_bundled_ones(w):
    with Data(w):
        script(w, 'redis = { ports = { redis = %d }, provides = { CACHE_URL = "${REDIS_URL}" } },' % (w.port + 60))
        start(w)
        equal(components(w.saved_state())["redis"]["final"], w.port + 60, "its port")
        env = environ_of_api(w)
        check(env["CACHE_URL"] == env["REDIS_URL"] and "~" not in env["CACHE_URL"], "one more name for what it provides")
        w.stop_all()
        script(w, "redis = { enabled = false },")
        equal(w.envctl("explain-startup", "--json", rc=0).json()["dependencies"], [], "switched off")


@test
def in_some_projects_only(w):
    """enable_if is asked for each project: a path, or a function."""

    def explained():
        document = w.envctl("explain-startup", "--trees", "--all", "--json", rc=0).json()
        return {p["name"]: ([d["id"] for d in p["dependencies"]], "REDIS_URL" in p["services"][0]["env"])
                for p in document["plan"]["projects"]}, [(s["project"], s["service"], s["reason"]) for s in document["skipped"]]

    w.services(backend="", TREES_FRONTEND_ENABLE=False, TREES_REDIS_ENABLE=True, TREES_POSTGRES_ENABLE=True)
    for n in (1, 2):
        w.git("worktree", "add", "-q", "-b", f"shop-{n}", str(w.repo / f"trees/shop/{n}"))
    (w.repo / "trees/shop/2/backend/cache").mkdir()
    for second in ('ctx.project.name == "shop-1"', 'nil'):
        w.write(".envctl.lua", 'return { envctl = 1, dependencies = { redis = { enable_if = "backend/cache" },\n'
                               f'  postgres = {{ enable_if = function(ctx) return {second} end }} }} }}\n')
        plans, skipped = explained()
        first = ["postgres"] if second != "nil" else []
        equal(plans, {"shop-1": (first, False), "shop-2": (["redis"], True)}, "who gets what")
        check(("shop-1", "redis", "there is no `backend/cache`") in skipped, f"what is left out of the first: {skipped}")
        check(("shop-2", "postgres", "switched off by .envctl.lua:2") in skipped, f"what is left out of the second: {skipped}")
    w.write(".envctl.lua", 'return { envctl = 1, dependencies = { redis = { enable_if = "backend/cache" }, mail = { command = "mail",\n'
                           f'  ports = {{ smtp = {w.port + 50} }}, needs = {{ "redis" }} }} }} }}\n')
    warnings = w.envctl("explain-startup", "--trees", "--all", "--json", rc=0).json()["warnings"]
    said = [(x["message"], x["where"]) for x in warnings if x["code"] == "need_skipped"]
    equal(said, [("mail needs redis, which shop-1 does not get", "shop-1/mail")], "what is missing")
    w.write(".envctl.lua", 'return { envctl = 1, dependencies = { redis = { enable_if = function() return "yes" end } } }\n')
    error = w.envctl("explain-startup", "--trees", "--all", "--json", rc=1).error()
    contains(error["message"], 'dependencies.redis.enable_if: expected true or false, got "yes"', "what is wrong")


@test
def supabase_without_containers(w):
    """A command of the user's, or somebody else's: the database alone."""
    with Data(w):
        w.write("tools/standin", SERVER)
        w.env["ENDINGS"] = str(w.repo / "endings")
        w.services(backend="", MAIN_SUPABASE_ENABLE=True, DB_PORT=w.port + 40,
                   ENVCTL_REQUIREMENT_SUPABASE_CMD=f'"{PYTHON} -S -E tools/standin db {{port}}"')
        start(w)
        (part,) = components(w.saved_state()).values()
        equal((part["id"], part["provider"]), ("supabase", "command"), "what runs")
        secret = environ_of_api(w)["SUPABASE_DB_PASSWORD"]
        url = f"postgresql://postgres:{secret}@localhost:{w.port + 40}/postgres"
        equal(environ_of_api(w)["DATABASE_URL"], url, "how it is reached")
        w.stop_all()
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            w.services(backend="", MAIN_SUPABASE_ENABLE=True, ENVCTL_SUPABASE_URL=f"postgresql://me:pw@127.0.0.1:{port}/app")
            start(w)
            env = environ_of_api(w)
            equal((env["DB_USER"], env["DB_NAME"], env["SUPABASE_DB_PORT"]), ("me", "app", str(port)), "somebody else's")


@test
def n8n_of_this_machine(w):
    """A stand-in for n8n: what is asked of it and how it is told are n8n's; what it does is not."""
    with Data(w) as data:
        bin = w.base / "bin"
        bin.mkdir()
        w.write("tools/standin", SERVER)
        (bin / "n8n").write_text(f'#!/bin/sh\n[ "$1" = start ] || exit 9\nexec {PYTHON} {w.repo}/tools/standin n8n "$N8N_PORT"\n')
        (bin / "n8n").chmod(0o755)
        w.env.update(PATH=f"{bin}:{w.env['PATH']}", ENDINGS=str(w.base / "bin/endings"))
        w.services(backend="", MAIN_N8N_ENABLE=True, N8N_PORT_BASE=w.port + 70)
        plan = w.envctl("explain-startup", "--json", rc=0).json()["plan"]["projects"][0]["dependencies"][0]
        equal((plan["provider"], plan["ready"]["path"], plan["ports"]), ("native", "/healthz", {"n8n": w.port + 70}), "plan")
        equal(plan["env"]["N8N_USER_FOLDER"], plan["data"], "its data is the project's")
        check(plan["data"].startswith(str(data.path)), "and where data is")
        start(w)
        api = next(p for p in w.service_processes() if "svc.py" in " ".join(p.argv)).environ()
        equal(api["N8N_URL"], f"http://localhost:{w.port + 70}", "its address")
        # A script can give what it provides more names.
        w.stop_all()
        w.write(".envctl.lua", 'return { envctl = 1, dependencies = { n8n = { provides = { HOOKS = "${N8N_URL}/hook" } } } }')
        w.envctl("script", "trust", rc=0)
        start(w)
        equal(environ_of_api(w)["HOOKS"], f"http://localhost:{w.port + 70}/hook", "another name")
        (w.repo / ".envctl.lua").unlink()
        w.stop_all()
        # The page for the first user is not there: said, and an error only for those who want that.
        w.env["MISSING"] = "/rest/settings"
        contains(start(w).err, "/rest/settings", "a warning")
        w.stop_all()
        w.env["ENVCTL_STRICT_N8N_BOOTSTRAP"] = "true"
        contains(start(w, rc=1).err, "/rest/settings", "an error")


main()
