"""`envctl script …` and the promise that a script never stands in the way of stop, logs, help and their like."""

import hashlib
import json
import shutil
import signal
import subprocess
import urllib.request

from lib import BIN, TOP, Proc, check, contains, equal, main, test, wait_for
from terminal import on_terminal

SCRIPT = """return {
  envctl = 1,
  services = { api = { command = "python3 -m http.server ${port}", port = 18099 } },
  override = { ["plan.ports"] = function(base, ctx) return base(ctx) end },
}
"""


def status(w, *args, **options):
    return w.envctl("script", "status", "--json", *args, rc=0, **options).json()


@test
def trust_follows_every_byte(w):
    w.services()
    w.write(".envctl.lua", SCRIPT)
    first = status(w)
    equal(first["trusted"], False, "trusted")
    equal(first["scripts"][0]["sha256"], hashlib.sha256(SCRIPT.encode()).hexdigest(), "sha256")
    equal(first["scripts"][0]["path"], ".envctl.lua", "path")
    equal(first["scripts"][0]["layer"], "script", "layer")
    done = w.envctl("script", "trust", "--json", rc=0).json()
    equal(done["trusted"][0]["sha256"], first["scripts"][0]["sha256"], "what was trusted")
    equal(status(w)["trusted"], True, "trusted")
    w.write(".envctl.lua", SCRIPT + " ")
    equal(status(w)["trusted"], False, "trusted with a changed byte")
    vouched = hashlib.sha256((SCRIPT + " ").encode()).hexdigest()
    equal(status(w, env={"ENVCTL_TRUST": vouched})["trusted"], True, "trusted by the environment")
    w.write(".envctl.lua", SCRIPT)
    equal(status(w)["trusted"], True, "trusted")
    equal(w.envctl("script", "untrust", "--json", rc=0).json()["removed"], 1, "removed")
    equal(status(w)["trusted"], False, "trusted after untrust")


@test
def worktrees_share_trust(w):
    w.services()
    w.write(".envctl.lua", SCRIPT)
    w.commit()
    w.envctl("script", "trust", rc=0)
    w.git("worktree", "add", "-q", str(w.base / "tree"))
    equal(status(w, cwd=w.base / "tree")["trusted"], True, "trusted in a worktree")
    (w.base / "tree/.envctl.lua").write_text(SCRIPT + "-- branch\n")
    equal(status(w, cwd=w.base / "tree")["trusted"], False, "trusted with the branch's text")
    equal(status(w)["trusted"], True, "trusted in the main tree")
    w.git("worktree", "remove", "--force", str(w.base / "tree"))


@test
def check_says_file_line_and_path(w):
    w.services()
    w.write(".envctl.lua", 'return {\n  envctl = 1,\n  services = {\n    api = { command = "x",\n      port = "80a" } } }\n')
    result = w.envctl("script", "check", rc=1)
    contains(result.out, '.envctl.lua:5: services.api.port: expected an integer 1..65535, got "80a"', "text")
    document = w.envctl("script", "check", "--json", rc=1).json()
    equal(document["ok"], False, "ok")
    equal(document["errors"][0]["where"], ".envctl.lua:5", "where")
    equal(document["errors"][0]["code"], "script_invalid", "code")
    w.write(".envctl.lua", SCRIPT)
    equal(w.envctl("script", "check", "--json", rc=0).json()["errors"], [], "errors")
    equal(w.envctl("script", "check", "--json", "--bundled", rc=0).json()["scripts"], [], "scripts with --bundled")


# What loads, and would not start or is hardly meant: the entries of `services`, and what is said where with which way out.
DOUBTS = [
    ('a = { command = "x ${prot}" }', "error: .envctl.lua:2: a.command: ${prot} has no value\n  did you mean ${port}?"),
    ('a = { command = "x ${port}", listens = false }', "${port} has no value\n  it does not listen, so it has no port"),
    ('a = { command = "x", env = { B = "${services.b.url}" } }, b = { command = "y", listens = false }',
     "a.env.B: ${services.b.url} has no value\n  b does not listen, so it has none"),
    ('a = { command = "x", needs = { "postgress" } }', 'error: .envctl.lua:2: a needs "postgress"'),
    ('a = { command = "x", needs = { "postgress" } }', '\n  did you mean "postgres"? known: a'),
    ('a = { command = "x", needs = { "postgres" } }', "\n  switch it on: MAIN_POSTGRES_ENABLE=true, or dependencies = { postgres = {} }"),
    ('a = { command = "x", needs = { "b" } }, b = { command = "x", needs = { "a" } }', "a -> b -> a"),
    ('a = { command = "x", listens = false, ready = { http = "/" } }', "services.a.ready: http asks on the port, but listens = false"),
    ('a = { command = "cd x && y" }', "warning: .envctl.lua:2: services.a.command: no shell runs the command: `&&` is an argument"),
    ('a = { command = "x --port $PORT" }', "`$PORT` stays as it is\n  write ${port}"),
    ('a = { command = "x --port={port}" }', "`{port}` stays as it is\n  scripts write ${port}"),
    ('a = { command = "x && $PORT", shell = true }, b = { command = { "x", "$HOME/y", "${port}" } }', "0 errors, 0 warnings"),
]


@test
def check_says_what_a_start_would(w):
    w.configure(MAIN_BACKEND_ENABLE="false", MAIN_FRONTEND_ENABLE="false")
    for services, wanted in DOUBTS:
        w.write(".envctl.lua", "return { envctl = 1, services = {\n" + services + " } }\n")
        done = w.envctl("script", "check")
        contains(done.out, wanted, services)
        equal(done.rc, 1 if "error: " in done.out else 0, services)
    # A setting that is wrong, and a container without a daemon: that is nothing wrong with the script, and said by the plan.
    w.write(".envctl.lua", 'return { envctl = 1, config = { default_mode = "tree" } }\n')
    contains(w.envctl("script", "check", rc=1).out, ".envctl.lua:1: config.default_mode: expected main or trees", "settings")
    w.write(".envctl.lua", 'return { envctl = 1, dependencies = { mail = { image = "mail", ports = { smtp = 1025 } } } }\n')
    w.env["DOCKER_HOST"] = f"unix://{w.base}/no-docker.sock"
    w.envctl("script", "check", rc=0)
    blockers = w.envctl("explain-startup", "--json", rc=0).json()["blockers"]
    unavailable = [b["hint"] for b in blockers if b["code"] == "dependency_unavailable"]
    equal(unavailable, ["start the docker daemon, give it a command, set ENVCTL_MAIL_URL, or switch it off"], "blockers")


@test
def commands_of_the_repository_are_listed(w):
    w.services()
    w.write(".envctl.lua", """return {
  envctl = 1,
  commands = {
    seed = { help = "load demo data", usage = "seed [COUNT]", run = function(ctx, host) host.print("seeded") return 0 end },
    plain = { run = function() return 3 end },
  },
  services = { mailer = { command = "mailer", listens = false } },
}
""")
    wanted = [
        {"name": "plain", "summary": None, "usage": "envctl plain", "origin": {"layer": "script", "file": ".envctl.lua", "line": 5}},
        {"name": "seed", "summary": "load demo data", "usage": "envctl seed [COUNT]",
         "origin": {"layer": "script", "file": ".envctl.lua", "line": 4}},
    ]

    def shown():
        listed = w.envctl("list-commands", "--json", rc=0).json()
        helped = w.envctl("help", "--json", rc=0).json()
        equal(helped["custom"], listed["custom"], "help and list-commands agree")
        equal(helped["warnings"], listed["warnings"], "on what is wrong as well")
        return listed["custom"], [x["code"] for x in listed["warnings"]]

    equal(shown(), ([], ["script_untrusted"]), "nothing is believed untrusted")
    contains(w.envctl("help", rc=0).out, "are not trusted", "help says so")
    contains(w.envctl("list-commands", rc=0).err, "are not trusted", "list-commands says so")
    contains(w.envctl("help", "seed", rc=1).err, "`envctl script trust`", "what to do")
    equal(w.envctl("__complete", "--", "see", rc=0).out, "", "completion")

    w.envctl("script", "trust", rc=0)
    equal(shown(), (wanted, []), "trusted")
    contains(w.envctl("help", rc=0).out, "Of this repository:\n  plain  \n  seed   load demo data\n", "help")
    contains(w.envctl("help", "seed", rc=0).out, "Usage: envctl seed [COUNT]\n\nA command of this repository: .envctl.lua:4", "one")
    equal(w.envctl("help", "seed", "--json", rc=0).json()["custom"], wanted[1:], "one")
    equal(w.envctl("list-commands", rc=0).out.split("\n")[-3:-1], ["plain", "seed"], "list-commands")
    equal(w.envctl("__complete", "--", "see", rc=0).out, "seed\tload demo data\n", "completion")
    equal(w.envctl("__complete", "--", "stop", "--service", "mai", rc=0).out, "mailer\t\n", "completion of its services")
    contains(w.envctl("help", "sead", rc=1).err, "did you mean `seed`?", "a typo")
    equal(w.envctl("seed", rc=0).out, "seeded\n", "and it runs")
    equal(w.envctl("--headless", "--repo", w.repo, "seed", cwd=w.base, rc=0).out, "seeded\n", "options of envctl stand in front of it")
    equal(w.envctl("--repo", w.base, "seed", "--json", rc=1).error()["code"], "not_a_repository", "the one that was named")
    for option in ("--help", "-h"):
        equal(w.envctl("seed", option, rc=0).out, w.envctl("help", "seed", rc=0).out, f"asked with {option} it does not")
    w.envctl("--bundled", "list-commands", rc=0)
    check("Of this repository" not in w.envctl("help", "--bundled", rc=0).out, "left out")

    # Trusted and broken, or somewhere else: envctl's own commands are listed all the same.
    w.write(".envctl.lua", "return {\n  envctl = 1,\n  commands = {,\n}\n")
    w.envctl("help", rc=0)
    found, problems = shown()
    equal((found, problems), ([], ["script_untrusted"]), "changed")
    digest = hashlib.sha256((w.repo / ".envctl.lua").read_bytes()).hexdigest()
    broken = w.envctl("help", "--json", rc=0, env={"ENVCTL_TRUST": digest}).json()
    equal([(x["code"], x["where"]) for x in broken["warnings"]], [("script_invalid", ".envctl.lua:3")], "trusted and broken")
    equal(w.envctl("help", "--json", rc=0, cwd=w.base).json()["custom"], [], "no repository")


@test
def old_shell_hooks(w):
    w.configure(TREES_STARTUP_ENABLE=False)
    nothing = w.envctl("migrate-hooks", rc=0).out
    contains(nothing, "No legacy shell hook functions were found.\n", "nothing there")
    contains(nothing, "A starting point for .envctl.lua:\nreturn {\n  envctl = 1,\n", "what to start from")
    old = """BACKEND_PORT_BASE=8000
envctl_setup_infrastructure() {
  docker compose up -d mailhog
}
envctl_define_services() {
  ENVCTL_HOOK_JSON='{"services": [{"name": "site", "cwd": "site", "command": "python3 -m http.server ${port}"}]}'
  export ENVCTL_HOOK_JSON
}
"""
    w.write(".envctl.sh", old)
    w.write("site/index.html", "hello\n")
    doctor = {c["id"]: c for c in w.envctl("doctor", "--json").json()["checks"]}
    contains(doctor["hooks"]["detail"], "envctl_setup_infrastructure and envctl_define_services", "doctor")
    dry = w.envctl("migrate-hooks", "--dry-run", rc=0).out
    check(not (w.repo / ".envctl.lua").exists(), "a dry run writes nothing")
    done = w.envctl("migrate-hooks", "--json", rc=0).json()
    equal((w.repo / ".envctl.lua").read_text(), dry, "what was shown is what was written")
    equal((done["text"], done["written"]), (dry, str(w.repo / ".envctl.lua")), "the document")
    equal((done["found"], done["todo"]), (["envctl_setup_infrastructure", "envctl_define_services"], ["envctl_setup_infrastructure"]),
          "which, and what is left to do")
    equal((w.repo / ".envctl.sh").read_text(), old, "the old file stays")
    check("hooks" not in {c["id"] for c in w.envctl("doctor", "--json").json()["checks"]}, "doctor is content")
    contains(dry, "    --     docker compose up -d mailhog\n", "shell code is a comment")

    # What is there is kept, one way or the other.
    w.write(".envctl.lua", "-- mine\n" + dry)
    refused = w.envctl("migrate-hooks", "--json", rc=1).json()["error"]
    equal((refused["code"], refused["where"]), ("path_occupied", str(w.repo / ".envctl.lua")), "refused")
    contains(w.envctl("migrate-hooks", "--force", rc=0).out, ".envctl.lua.old now", "set aside")
    equal((w.repo / ".envctl.lua.old").read_text(), "-- mine\n" + dry, "and kept")

    # And it is a script that starts what the hook stood for.
    w.write(".envctl.lua", dry.replace("listens = false,", "listens = true,"))
    w.envctl("script", "check", rc=0)
    w.envctl("script", "trust", rc=0)
    started = w.start("--json", rc=0).json()["services"]
    equal([s["name"] for s in started], ["Main Site"], "services")
    with urllib.request.urlopen(started[0]["url"], timeout=30) as answer:
        equal(answer.read(), b"hello\n", "it answers")
    w.stop_all()


@test
def console(w):
    w.services()
    w.write(".envctl.lua", SCRIPT)

    def run(text, rc):
        r = w.envctl("script", "repl", stdin=text, rc=rc)
        return r.out.splitlines(), r.err.splitlines()

    out, err = run("""1 + 1, "two"
x = { 1, b = facts.command }
for _ = 1, 2 do
  print(x.b)
end
x
explain.decision, explain.plan.projects[1].services[1].port
script.services.api.port
script.override["plan.ports"](function(ctx) return { api = ctx.slot } end, { slot = 7 })
envctl.bundled("plan.ports").MAX_PORT
:quit
not read any more
""", 0)
    equal(out, ["2", '"two"', "start", "start", '{ 1, b = "start" }', '"blocked"', "18099", "18099", "{ api = 7 }", "65535"], "values")
    equal(err, [], "nothing went wrong")
    # What goes wrong is said, and the next line is read; for a pipe the exit code tells.
    out, err = run("""nope.x
x = = 1
io.open("/etc/passwd")
while true do end
("x"):rep(1e9)
function f(

1 +
1
"still here"
:what
if true then
""", 1)
    equal(out, ["2", '"still here"'], "it goes on")
    for i, part in enumerate([
        "console:1: attempt to index a nil value (global 'nope')", "console:1: unexpected symbol near '='", "io is not there for scripts",
        "console:1: ran for ", "MiB", "unfinished: function f(", "there is no :what", "  hint: :help", "unfinished: if true then",
    ]):
        contains(err[i], part, f"line {i}")
    # With a script that does not load, or without one, there is still something to try.
    w.write(".envctl.lua", "return {\n  envctl = 1,\n  services = 3,\n}\n")
    out, err = run("explain, script\n", 0)
    equal((out[0], err[0][:14]), ("nil", ".envctl.lua:3:"), "broken")
    (w.repo / ".envctl.lua").unlink()
    equal(run("facts.projects[1].name, script\n", 0)[0], ['"Main"', "nil"], "none")
    w.envctl("script", "repl", "--json", rc=1)


@test
def console_on_a_terminal(w):
    w.services()
    w.write(".envctl.lua", "return { envctl = 1, commands = { one = { run = function() return 1 end } } }\n")
    t = on_terminal(w, BIN, "script", "repl")
    try:
        def see(part):
            wait_for(lambda: part in t.screen(), lambda: f"{part!r}; on the screen:\n{t.screen()}")

        see("quit ends it.\n>")
        t.keys("script.commands.one.run", "Enter")
        see("<function .envctl.lua:1>")
        t.keys("for i = 1, 3 do", "Enter")
        see("\n>>")
        t.keys("print(i * 11) end", "Enter")
        see("\n33\n")
        w.write(".envctl.lua", "return { envctl = 1, commands = { two = { run = function() return 1 end } } }\n")
        t.keys(":reload", "Enter")
        see(":reload\n>")
        t.keys("script.commands.one, script.commands.two", "Enter")
        see("\nnil\n{ run = <function")
        t.keys("nope()", "Enter")
        see("console:1: attempt to call a nil value")
        t.keys(":quit", "Enter")
        equal(t.exit_code(), 0, "exit code: somebody saw what went wrong")
    finally:
        t.close()


@test
def points_and_eject(w):
    w.services()
    w.write(".envctl.lua", SCRIPT)
    names = [p["name"] for p in w.envctl("script", "points", "--json", rc=0).json()["points"]]
    check("plan.ports" in names and len(names) >= 16, f"points: {names}")
    contains(w.envctl("script", "points", "plan.ports", rc=0).out, "the ports of one project", "one point")
    done = w.envctl("script", "eject", "plan.ports", "--json", rc=0).json()
    equal(done["path"], "tools/envctl/plan_ports.lua", "path")
    equal((w.repo / ".envctl.lua").read_text(), SCRIPT, "the user's script")
    w.write(".envctl.lua", 'return { envctl = 1, override = { ["plan.ports"] = envctl.include("tools/envctl/plan_ports.lua") } }')
    equal(w.envctl("script", "check", "--json", rc=0).json()["errors"], [], "errors of the ejected file")
    equal(w.envctl("script", "eject", "plan.ports", "--json", rc=0).json()["path"], "tools/envctl/plan_ports-2.lua", "second path")
    contains(w.envctl("script", "eject", "plan.port", rc=1).err, 'did you mean "plan.ports"?', "hint")
    contains(w.envctl("script", "chekc", rc=1).err, 'did you mean "check"?', "hint")


# A script that never ends, one that throws, one that is no Lua, one that nobody may use.
BAD = ["while true do end", "error('no')", "return {", "return { envctl = 1, services = 1 }", None]


@test
def bad_scripts_stand_in_nobodys_way(w):
    w.services(backend="")
    w.start()
    trace = w.base / "trace"
    for text in BAD:
        path = w.write(".envctl.lua", text if text is not None else "return { envctl = 1 }")
        path.chmod(0o666 if text is None else 0o644)
        for args in (["show-state", "--json"], ["logs", "--logs-tail", "1"], ["help"], ["list-commands"], ["--version"]):
            # Nobody waits for a script that no script host runs: that would be another process.
            w.run("strace", "-f", "-qq", "-e", "trace=execve", "-o", trace, BIN, *args, rc=0, env={"ASAN_OPTIONS": "detect_leaks=0"})
            equal(trace.read_text().count("execve("), 1, f"programs of {args}")
        result = w.envctl("script", "check", rc=1)
        contains(result.out + result.err, ".envctl.lua", "check")
    w.stop_all()


@test
def show_config_says_what_scripts_say(w):
    w.services(BACKEND_PORT_BASE=8200)
    w.write(".envctl.lua", "return { envctl = 1, config = { ports = { backend = 8300 } }, dependencies = { redis = {} } }")
    w.write(".envctl.local.lua", "return { envctl = 1,\n  config = { ports = { backend = function(base) return base + 1 end } } }")
    shown = w.envctl("show-config", "--json", rc=0).json()
    equal(shown["layers"], [str(w.repo / name) for name in (".envctl", ".envctl.lua", ".envctl.local.lua")], "what was read")
    port, redis = shown["values"]["BACKEND_PORT_BASE"], shown["values"]["MAIN_REDIS_ENABLE"]
    equal((port["value"], port["layer"], port["line"]), (8301, "local", 2), "the port")
    equal((redis["value"], redis["layer"], redis["file"]), (True, "script", ".envctl.lua"), "what is switched on by being listed")
    equal(w.envctl("explain-startup", "--json", rc=0).json()["dependencies"], ["redis"], "as the plan has it")


INTERRUPTED = """return {
  envctl = 1,
  commands = { slow = { run = function(_, host) pcall(host.run, { "sh", "-c", "echo $$ >pid; sleep 600" }) return 0 end } },
  on = { before_stop = { optional = true, run = function(_, host) host.run { "sh", "-c", "echo $$ >pid; sleep 600" } end } },
}
"""


@test
def an_interrupt_ends_what_a_script_runs(w):
    w.services(frontend="")
    w.write(".envctl.lua", INTERRUPTED)
    w.envctl("script", "trust", rc=0)
    w.start("--no-prepare")
    for name, number in (("slow", signal.SIGINT), ("slow", signal.SIGTERM), ("stop-all", signal.SIGINT)):
        pid = w.repo / "pid"
        pid.unlink(missing_ok=True)
        client = w.spawn(BIN, name, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        program = Proc(int(wait_for(lambda: pid.exists() and pid.read_text(), f"the program of {name}")))
        client.send_signal(number)
        said = client.communicate(timeout=60)[0]
        equal(client.returncode, 2, f"{name}: exit code; it said {said}")
        contains(said, "interrupted; sh was ended", name)
        wait_for(lambda: not program.alive, "the program to end")
    equal(w.state()["state"]["services"]["Main Frontend"]["live"], True, "an interrupted stop stops nothing")
    w.envctl("stop-all", "--bundled", rc=0)


@test
def the_example_is_right(w):
    shutil.copytree(TOP / "examples/scripted", w.repo, dirs_exist_ok=True)
    document = w.envctl("script", "check", "--json", rc=0).json()
    equal((document["errors"], document["warnings"]), ([], []), "findings")
    equal([i["path"] for i in document["scripts"][0]["includes"]], ["tools/envctl/env.lua"], "includes")


@test
def the_example_runs(w):
    shutil.copytree(TOP / "examples/scripted", w.repo, dirs_exist_ok=True)
    w.env["ENVCTL_DATA_DIR"] = str(w.base / "data")
    ports = {"clock": w.port, "api": w.port + 1}
    mailbox = f"mailbox = {{ ports = {{ smtp = {w.port + 2}, http = {w.port + 3} }} }}"
    services = "".join(f"{name} = {{ port = {port} }}, " for name, port in ports.items())
    w.write(".envctl.local.lua", f"return {{ envctl = 1, services = {{ {services} }}, dependencies = {{ {mailbox} }} }}")
    w.commit()
    plan = w.envctl("explain-startup", "--json", rc=0).json()
    equal((plan["decision"], [b["code"] for b in plan["blockers"]]), ("blocked", ["script_untrusted"]), "untrusted")
    equal(w.envctl("--headless", "--json", rc=1).json()["error"]["code"], "script_untrusted", "start of the untrusted")
    w.envctl("script", "trust", rc=0)
    plan = w.envctl("explain-startup", "--json", rc=0).json()
    w.start()
    state = w.state()["state"]
    equal(state["plan_digest"], plan["plan"]["digest"], "digest of what runs and of what was shown")
    with urllib.request.urlopen(f"http://127.0.0.1:{ports['api']}/", timeout=30) as response:
        equal(json.load(response)["project"], "Main", "what the override set")
    with urllib.request.urlopen(f"http://127.0.0.1:{ports['api']}/hello", timeout=30) as response:
        equal(json.load(response)["sent"], True, "a mail is sent")
    with urllib.request.urlopen(f"http://127.0.0.1:{w.port + 3}/", timeout=30) as response:
        equal(json.load(response), ["Hello"], "and is in the mailbox of the script")
    w.stop_all()


main()
