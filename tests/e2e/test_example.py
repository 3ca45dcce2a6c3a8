#!/usr/bin/env python3
"""examples/run.sh does what it says, and a second run of it changes nothing."""

import os
import re

from lib import TOP, contains, equal, main, test, wait_for

COPY = TOP / "build/example/shop"


def snapshot():
    """What a second run must not change: the build, and the copy."""
    found = {}
    for top in (TOP / "build/release", COPY):
        for directory, names, files in os.walk(top):
            names[:] = [n for n in names if n != "__pycache__"]
            for name in files:
                path = os.path.join(directory, name)
                # Looking at a repository may refresh git's cache of file times; ninja notes that it had nothing to do.
                if not path.endswith((".git/index", ".ninja_log", ".ninja_deps")):
                    found[path] = os.lstat(path).st_mtime_ns
    return found


@test(timeout=600)
def it_runs_twice(w):
    first = w.run(TOP / "examples/run.sh", rc=0, timeout=500)
    before = snapshot()
    second = w.run(TOP / "examples/run.sh", rc=0)
    equal(snapshot(), before, "files after the second run")
    for result in (first, second):
        for name in ("backend", "frontend"):
            contains(result.out, f"{name} answers at http://", "what is printed")
        contains(result.out, "stop-all", "how to stop")
    urls = re.findall(r"answers at (\S+)", first.out)
    equal(re.findall(r"answers at (\S+)", second.out), urls, "the same URLs")
    # As printed: change into the copy and stop.
    command = re.findall(r"^ +(cd \S+|\S+ stop-all)$", second.out, re.M)
    equal(len(command), 2, f"the commands to stop in\n{second.out}\n")
    w.run("sh", "-c", " && ".join(command), rc=0)
    wait_for(lambda: not w.service_processes(), "the services to be gone")


if __name__ == "__main__":
    main()
