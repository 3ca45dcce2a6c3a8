"""The digest that explain-startup prints is that of what start runs: generated scripts, really started and stopped. tests/lua does the
same for 500 of them up to the keeper's door. SEED=n runs one alone."""

import os
import pathlib
import random
import sys

from lib import check, equal, main, test

SVC = f"{sys.executable} -S -E {pathlib.Path(__file__).resolve().parents[1] / 'fixtures' / 'svc.py'} --port ${{port}}"
COUNT = 12
NAMES = ["api", "search", "docs"]

OVERRIDES = {
    "plan.ports": 'local p, n = base(ctx), 0; for k in pairs(p) do n = n + 1; p[k] = %d + n end; return p',
    "plan.env": "local e = base(ctx); local t = {}; for k in pairs(e) do t[#t + 1] = k end; e.ORDER = table.concat(t, '-'); return e",
    "plan.startup": "local d = base(ctx); for _, p in ipairs(d.plan and d.plan.projects or {}) do p.services[1].critical = false end; return d",
    "detect.services": 'local s = base(ctx); s.extra = { command = "%s", env = { MADE = "by " .. ctx.project.name } }; return s' % SVC,
}


def generated(seed, port):
    r = random.Random(seed)
    names = r.sample(NAMES, r.randint(1, len(NAMES)))
    services = []
    for i, name in enumerate(names):
        fields = [f'command = "{SVC}"', f"port = {port + i}", 'ready = { tcp = true }']
        fields.append('env = { A = "${project}", B = %s, %s = tostring(math.random(99)) }' % (r.randint(1, 9), r.choice("XYZ")))
        if i and r.random() < 0.5:
            fields.append(f'needs = {{ "{names[i - 1]}" }}')
            fields.append('health = { tcp = true }' if r.random() < 0.5 else 'restart = "on-failure"')
        services.append(f"    {name} = {{ {', '.join(fields)} }},")
    points = sorted(point for point in OVERRIDES if r.random() < 0.5)
    bodies = {point: OVERRIDES[point] % (port + 20) if point == "plan.ports" else OVERRIDES[point] for point in points}
    overrides = [f'    ["{point}"] = function(base, ctx) {bodies[point]} end,' for point in points]
    lines = ["return {", "  envctl = 1,", "  services = {", *services, "  },", "  override = {", *overrides, "  },", "}"]
    return "\n".join(lines) + "\n"


@test(timeout=300)
def what_was_explained_is_what_runs(w):
    w.envctl("stop-all")
    for seed in [int(os.environ["SEED"])] if "SEED" in os.environ else range(1, COUNT + 1):
        w.write(".envctl.lua", generated(seed, w.port))
        w.envctl("script", "trust", rc=0)
        explained = w.envctl("explain-startup", "--json", rc=0).json()
        check(explained["plan"] and explained["decision"] != "blocked", f"SEED={seed}: {explained['blockers']}")
        w.start()
        state = w.saved_state()
        equal(state["plan_digest"], explained["plan"]["digest"], f"SEED={seed}: digest of what runs and of what was shown")
        planned = {s["name"]: s for p in explained["plan"]["projects"] for s in p["services"]}
        for process in w.service_processes():
            environment = process.environ()
            shown = next((s for s in planned.values() if str(s["port"]) == environment.get("PORT")), None)
            check(shown, f"SEED={seed}: PORT={environment.get('PORT')} is nobody's")
            for name, value in shown["env"].items():
                equal(environment.get(name), value, f"SEED={seed}: {shown['name']}.{name}")
        w.stop_all()
        again = w.envctl("explain-startup", "--json", rc=0).json()
        equal(again["plan"]["digest"], explained["plan"]["digest"], f"SEED={seed}: shown once more")


main()
