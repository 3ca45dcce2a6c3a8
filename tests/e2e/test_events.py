#!/usr/bin/env python3
"""events.jsonl survives a torn end: at most the torn event is lost, and the next one starts on a line of its own."""

import json

from lib import check, equal, main, test


def whole_lines(path):
    good, bad = [], []
    for line in path.read_bytes().split(b"\n"):
        if line:
            try:
                good.append(json.loads(line))
            except ValueError:
                bad.append(line)
    return good, bad


@test(timeout=300)
def torn_at_any_byte(w):
    w.services(backend="")
    w.start()
    w.stop_all()
    w.gone()
    path = w.scope_dir() / "events.jsonl"
    text = path.read_bytes()
    lines = text.splitlines(keepends=True)
    last = len(lines[-1])
    # Every tenth byte of the last line, and the ends of it.
    for cut in sorted({0, 1, 2, last - 2, last - 1, last, *range(0, last, 10)}):
        path.write_bytes(text[: len(text) - cut])
        before, torn = whole_lines(path)
        check(len(torn) <= 1, "the cut tears one line")
        w.start()
        w.stop_all()
        w.gone()
        after, bad = whole_lines(path)
        equal(bad, torn, f"cut of {cut} bytes: broken lines")
        equal(after[: len(before)], before, f"cut of {cut} bytes: the whole lines before it")
        check("service.ready" in [e["event"] for e in after[len(before) :]], f"cut of {cut} bytes: the new run's events")
        check(all(isinstance(e["seq"], int) for e in after), "seq")


@test
def bounded(w):
    """A big file becomes the one before; numbers go on."""
    w.services(backend="")
    w.start()
    path = w.scope_dir() / "events.jsonl"
    older = path.with_name("events.jsonl.1")
    last = whole_lines(path)[0][-1]["seq"]
    line = json.dumps({"event": "filler", "seq": last, "pad": "x" * 1000}, separators=(",", ":")) + "\n"
    for _ in range(2):
        with open(path, "a", encoding="utf-8") as f:
            f.write(line * (17 * 1024))
        w.stop_all()
        w.gone()
        check(older.stat().st_size > 16 << 20 > path.stat().st_size, "the big one is the one before")
        w.start()
    events, broken = whole_lines(path)
    equal(broken, [], "broken lines")
    numbers = [e["seq"] for e in events]
    equal(numbers, list(range(numbers[0], numbers[0] + len(numbers))), "seq")
    check(numbers[0] > last, "seq goes on")
    equal(sorted(p.name for p in w.scope_dir().glob("events*")), ["events.jsonl", "events.jsonl.1"], "files")


if __name__ == "__main__":
    main()
