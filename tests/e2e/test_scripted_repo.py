#!/usr/bin/env python3
"""A repository with a .envctl.lua, through the whole program: preview, trust, services, overrides, hooks, commands."""

import sys

from lib import check, contains, equal, main, test

SVC = sys.executable + " -S -E %s --port ${port}"


def script(w, text):
    fixture = str(__import__("pathlib").Path(__file__).resolve().parents[1] / "fixtures" / "svc.py")
    w.write(".envctl.lua", "return {\n  envctl = 1,\n" + text.replace("@SVC@", SVC % fixture) + "\n}\n")


def service(port, extra=""):
    return 'services = { api = { command = "@SVC@", port = %d, %s } },' % (port, extra)


def sha(w):
    return w.envctl("explain-startup", "--json", rc=0).json()["scripts"][0]["sha256"]


def trusted(w):
    w.env["ENVCTL_TRUST"] = sha(w)


@test
def an_untrusted_script_is_previewed_and_blocks_a_start(w):
    script(w, service(w.port, 'env = { GREETING = "hi ${project}" }'))
    explained = w.envctl("explain-startup", "--json", rc=0).json()
    equal(explained["decision"], "blocked", "decision")
    equal([b["code"] for b in explained["blockers"]], ["script_untrusted"], "blockers")
    equal(explained["scripts"][0]["trusted"], False, "trusted")
    api = explained["plan"]["projects"][0]["services"][0]
    equal(api["env"]["GREETING"], "hi Main", "the planned environment")
    equal(api["origin"]["env"]["layer"], "script", "where it is from")
    error = w.envctl("start", "--json", rc=1).json()["error"]
    equal(error["code"], "script_untrusted", "code")
    contains(error["hint"], "envctl script trust", "the way out")
    equal(w.service_processes(), [], "nothing runs")


@test
def trust_is_for_these_bytes(w):
    script(w, service(w.port))
    w.envctl("script", "trust", rc=0)
    w.start()
    w.stop_all()
    script(w, service(w.port) + " -- one comment more")
    equal(w.envctl("start", "--json", rc=1).json()["error"]["code"], "script_untrusted", "changed bytes")


@test
def what_is_explained_is_what_runs(w):
    script(w, service(w.port, 'ready = { tcp = true }') + """
  override = { ["plan.env"] = function(base, ctx) local e = base(ctx); e.ADDED = ctx.service; return e end },""")
    trusted(w)
    explained = w.envctl("explain-startup", "--json", rc=0).json()
    override = explained["overrides"][0]
    equal((override["point"], override["file"], override["line"]), ("plan.env", ".envctl.lua", 4), "the override")
    check(any(c["after"] == "api" for c in override["changed"]), f"what it changed: {override['changed']}")
    w.start()
    state = w.saved_state()
    equal(state["plan_digest"], explained["plan"]["digest"], "digests")
    equal(w.service_processes()[0].environ()["ADDED"], "api", "the child's environment")


@test
def ports_are_a_script_s_to_decide(w):
    other = w.port + 7
    script(w, """services = { api = { command = "@SVC@" } },
  override = { ["plan.ports"] = function(base, ctx) local p = base(ctx); p.api = %d; return p end },""" % other)
    trusted(w)
    w.start()
    equal(w.saved_state()["services"]["Main Api"]["actual_port"], other, "port")


@test
def an_ejected_planner_plans_the_same(w):
    """A copy of the planner gives the same plan, and that is what is started: with the values that the plan hides."""
    services = 'services = { api = { command = "@SVC@", port = %d, env = { API_TOKEN = "s3cret" } } },' % w.port
    script(w, services)
    plain = w.envctl("explain-startup", "--json", rc=0).json()
    path = w.envctl("script", "eject", "plan.startup", "--module", "--json", rc=0).json()["path"]
    script(w, services + ' modules = { ["plan.startup"] = envctl.include("%s") },' % path)
    trusted(w)
    equal(w.envctl("script", "check", "--json", rc=0).json()["errors"], [], "findings")
    explained = w.envctl("explain-startup", "--json", rc=0).json()
    equal(explained["plan"], plain["plan"], "the plan")
    used = [(o["point"], o.get("module"), o["file"]) for o in explained["overrides"]]
    equal(used, [("plan.startup", True, ".envctl.lua")], "overrides")
    w.start()
    equal(w.saved_state()["plan_digest"], explained["plan"]["digest"], "digests")
    equal(w.service_processes()[0].environ()["API_TOKEN"], "s3cret", "the hidden value")
    (w.repo / path).write_text((w.repo / path).read_text().replace("blockers = draft.blockers,", "blockers = {},"))
    trusted(w)
    result = w.envctl("script", "check", rc=1)
    contains(result.out, 'modules["plan.startup"]: contract: a state that cannot be read is a blocker', "contract")


@test
def hooks_run_around_a_start_and_a_stop(w):
    script(w, service(w.port) + """
  on = {
    before_start = function(ev, host) host.write("before.txt", ev.project) end,
    ["service.ready"] = function(ev, host) host.write("ready.txt", ev.service) end,
    stopped = function(ev, host) host.write("stopped.txt", ev.services[1]) end,
  },""")
    trusted(w)
    w.start()
    equal((w.repo / "before.txt").read_text(), "Main", "before_start")
    equal((w.repo / "ready.txt").read_text(), "api", "service.ready")
    w.envctl("stop", rc=0)
    equal((w.repo / "stopped.txt").read_text(), "Main Api", "stopped")


@test
def a_hook_that_fails_stops_the_start(w):
    script(w, service(w.port) + ' on = { before_start = function() error("no database today") end },')
    trusted(w)
    error = w.envctl("start", "--json", rc=1).json()["error"]
    equal(error["code"], "hook_failed", "code")
    contains(error["message"], ".envctl.lua:3", "where")
    contains(error["message"], "no database today", "why")
    equal(w.service_processes(), [], "nothing runs")


@test
def commands_of_the_repository(w):
    script(w, """commands = { seed = { help = "load", run = function(ctx, host)
      local r = host.run { "sh", "-c", "echo made $1", "sh", ctx.args[1] }
      host.print(r.stdout)
      return r.code
    end } },""")
    error = w.envctl("seed", "x", rc=1)
    contains(error.err, "not trusted", "untrusted")
    trusted(w)
    contains(w.envctl("seed", "x", rc=0).out, "made x", "output")
    contains(w.envctl("sede", rc=1).err, "unknown command", "a typo")


@test
def a_broken_script_stops_starts_and_nothing_else(w):
    script(w, service(w.port))
    trusted(w)
    w.start()
    w.write(".envctl.lua", "return {\n  envctl = 1,\n  services = { api = { port = '80a', command = 'x' } },\n}\n")
    error = w.envctl("restart", "--json", rc=1).json()["error"]
    equal(error["code"], "script_invalid", "code")
    contains(error["message"], ".envctl.lua:3: services.api.port: expected an integer 1..65535", "message")
    w.envctl("logs", rc=0)
    w.envctl("health", rc=0)
    w.envctl("stop-all", rc=0)
    equal(w.service_processes(), [], "stopped")


@test
def a_script_that_never_ends(w):
    w.write(".envctl.lua", "while true do pcall(function() while true do end end) end\n")
    error = w.envctl("explain-startup", "--json", rc=1).json()["error"]
    contains(error["message"], ".envctl.lua", "the file")
    contains(error["message"], "ran for", "why")


@test
def what_is_found_without_scripts_is_said_with_them(w):
    w.services(backend="", BACKEND_ENV_FILE_OVERRIDE="gone.env")
    w.write(".envctl.lua", "return { envctl = 1 }\n")
    warnings = w.envctl("explain-startup", "--json", rc=0).json()["warnings"]
    equal([x["code"] for x in warnings], ["env_file_missing"], "warnings")


if __name__ == "__main__":
    main()
