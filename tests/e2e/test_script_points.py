"""Override points outside of the planner: dependencies, new worktrees, findings of doctor."""

from lib import check, contains, equal, main, test


def script(w, text):
    w.write(".envctl.lua", "return {\n  envctl = 1,\n" + text + "\n}\n")


WORKTREES = """
  override = {
    ["worktree.name"] = function(base, ctx) return "task-" .. ctx.feature .. "." .. ctx.number end,
    ["worktree.seed"] = function(base, ctx)
      local seed = base(ctx)
      seed.files["notes/first.md"] = "for " .. ctx.project.name .. "\\n" .. (ctx.plan or "")
      table.insert(seed.copy, "local.cfg")
      return seed
    end,
    ["plan.env"] = function(base, ctx)
      local env = base(ctx)
      env.WHERE = ctx.project.name .. " in " .. ctx.project.root
      return env
    end,
  },"""


@test
def worktrees_are_named_and_filled_by_scripts(w):
    w.services(backend="", TREES_FRONTEND_ENABLE=False)
    w.write("todo/plans/web/checkout.md", "# Checkout\n")
    w.write(".gitignore", ".envctl\nlocal.cfg\n")
    w.write("local.cfg", "a = 1\n", 0o600)
    script(w, WORKTREES)
    w.git("rm", "-q", "--cached", ".envctl")
    w.commit()
    w.envctl("script", "trust", rc=0)
    shown = w.envctl("explain-startup", "--plan", "checkout", "--json", rc=0).json()
    equal([p["name"] for p in shown["plan"]["projects"]], ["task-web_checkout.1"], "what would be made")
    changed = {c["path"]: (c["before"], c["after"]) for o in shown["overrides"] for c in o["changed"]}
    equal(changed["web_checkout-1"], ("web_checkout-1", "task-web_checkout.1"), "before and after")
    done = w.envctl("--headless", "--plan", "checkout", "--json", rc=0).json()
    equal(done["plan_digest"], shown["plan"]["digest"], "what was previewed is what was done")
    tree = w.repo / "trees/web_checkout/1"
    equal(w.git("-C", str(tree), "rev-parse", "--abbrev-ref", "HEAD").strip(), "task-web_checkout.1", "branch")
    equal((tree / "notes/first.md").read_text(), "for task-web_checkout.1\n# Checkout\n", "a file of the script's")
    equal((tree / "MAIN_TASK.md").read_text(), "# Checkout\n", "the task")
    equal(((tree / "local.cfg").read_text(), (tree / "local.cfg").stat().st_mode & 0o777), ("a = 1\n", 0o600), "a copy")
    projects = [(p["name"], p["running"]) for p in w.envctl("list-trees", "--json", rc=0).json()["projects"]]
    equal(projects, [("task-web_checkout.1", True)], "the project")
    again = w.envctl("--headless", "--plan", "checkout", "--json", rc=0).json()
    equal((again["created"], again["started"]), ([], 0), "at least one is there")
    two = w.envctl("--headless", "--plan", "checkout", "--count", "checkout=2", "--json", rc=0).json()
    equal([c["project"] for c in two["created"]], ["task-web_checkout.2"], "one more")
    w.stop_all()


@test
def names_and_files_that_cannot_be(w):
    w.services(backend="", TREES_STARTUP_ENABLE=False)
    w.write("todo/plans/web/cart.md", "# Cart\n")
    w.commit()
    for body, message in (
        ('["worktree.name"] = function() return "../x" end', 'override["worktree.name"]: expected a name of letters'),
        ('["worktree.name"] = function() return "a..b" end', "cannot be the name of a branch"),
        ('["worktree.name"] = function() error("no idea") end', ".envctl.lua:3: override[\"worktree.name\"]: no idea"),
        ('["worktree.seed"] = function() return { files = { ["../x"] = "" } } end', "leaves the worktree directory"),
        ('["worktree.seed"] = function() return { files = { [".git/hooks/x"] = "" } } end', "is no file that a worktree can be given"),
        ('["worktree.seed"] = function() return { copy = { "/etc/passwd" } } end', "expected a path below the worktree"),
    ):
        script(w, "override = { %s }," % body)
        w.envctl("script", "trust", rc=0)
        result = w.envctl("--headless", "--plan", "cart", rc=1)
        contains(result.err, message, body)
        check(not (w.repo / "trees/web_cart").exists(), f"{body}: nothing is made")
    script(w, 'override = { ["worktree.name"] = function() return "always" end },')
    w.envctl("script", "trust", rc=0)
    w.envctl("--headless", "--plan", "cart", rc=0)
    result = w.envctl("--headless", "--plan", "cart", "--count", "cart=2", rc=1)
    contains(result.err, 'worktree.name gives "always" again', "the same name twice")
    w.stop_all()


@test
def dependencies_are_selected_by_scripts(w):
    w.services(backend="", MAIN_POSTGRES_ENABLE=True, MAIN_REDIS_ENABLE=False, ENVCTL_REDIS_URL="redis://cache.example:6380/0")
    script(w, 'override = { ["deps.select"] = function(base, ctx) local d = base(ctx); d.postgres = false; d.redis = "external"; return d end },')
    document = w.envctl("explain-startup", "--json", rc=0).json()
    equal(document["dependencies"], ["redis"], "dependencies")
    found = [(d["id"], d["provider"]) for p in document["plan"]["projects"] for d in p["dependencies"]]
    equal(found, [("redis", "external")], "the plan")
    override = document["overrides"][0]
    equal(override["point"], "deps.select", "point")
    changed = [(c["path"], c["before"], c["after"]) for c in override["changed"]]
    equal(changed, [("dependencies.postgres", "auto", False), ("dependencies.redis", False, "external")], "what changed")
    script(w, 'override = { ["deps.select"] = function(base, ctx) return { redis = "magic" } end },')
    error = w.envctl("explain-startup", "--json", rc=1).json()["error"]
    contains(error["message"], '.envctl.lua:3: override["deps.select"].redis: expected "auto", "native"', "a provider that is none")


@test
def doctor_asks_trusted_scripts_and_survives_all_of_them(w):
    w.services(backend="")
    script(w, """override = { ["doctor.checks"] = function(base, ctx)
      local checks = base(ctx)
      table.insert(checks, { id = "certificates", status = "fail", detail = "none in " .. ctx.root, fix = "make certs" })
      return checks
    end },""")

    def found(rc):
        return {c["id"]: c for c in w.envctl("doctor", "--repo", str(w.repo), "--json", rc=rc).json()["checks"]}

    checks = found(0)
    contains(checks["scripts"]["detail"], ".envctl.lua: not trusted", "untrusted")
    check("certificates" not in checks, "an untrusted script is not asked")
    w.envctl("script", "trust", rc=0)
    checks = found(1)
    equal(checks["certificates"]["fix"], "make certs", "the script's finding")
    equal((checks["scripts"]["status"], checks["git"]["status"]), ("pass", "pass"), "the others")
    for text in ("return {", "error('no')", "while true do end"):
        w.write(".envctl.lua", text)
        checks = found(0)
        equal(checks["scripts"]["status"], "warn", text)
        contains(checks["scripts"]["detail"], ".envctl.lua:1: ", text)
    check("scripts" not in {c["id"] for c in w.envctl("doctor", "--repo", str(w.repo), "--bundled", "--json", rc=0).json()["checks"]}, "--bundled")


main()
