"""What must hold after something was killed in the middle of an operation."""

from lib import Failed, check, wait_for


def recorded_pids(w):
    state = w.saved_state()  # raises when it is no JSON
    return {s["pid"] for s in state["services"].values() if s["pid"]} if state else set()


def of_a_record(p, known):
    """Whether it is a recorded service, or one of its processes. Their session outlives its leader."""
    return p.pid in known or p.ppid in known or p.session in known


def settle(w):
    """Waits until no operation runs: gates of a dead keeper close, an orphaned start comes to its end."""

    def settled():
        if w.keepers():
            return not w.keeper_is_busy()
        known = recorded_pids(w)
        return all(of_a_record(p, known) for p in w.service_processes())

    try:
        wait_for(settled, "things to settle")
    except Failed:
        pass  # what is wrong is told by the checks that follow


def check_what_runs(w, what):
    """The state is valid, and every live service is recorded: none is lost, and none is there twice."""
    settle(w)
    known = recorded_pids(w)
    for p in w.service_processes():
        check(of_a_record(p, known), f"{what}: {p} runs and is not recorded (recorded: {sorted(known)})")
    shown = w.envctl("show-state", "--json")
    check(shown.rc in (0, 1), f"{what}: {shown}")
    shown.json()


def check_after_kill(w, what):
    """The same, and stop-all leaves nothing."""
    check_what_runs(w, what)
    try:
        w.stop_all()
        w.gone()
    except Failed as e:
        raise Failed(f"{what}: {e}") from None
    stray = w.stray_files()
    check(not stray, f"{what}: stray files {stray}")
