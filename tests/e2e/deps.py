"""Worlds with real Postgres and Redis: a data directory of their own, ports, and short queries from the outside."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from lib import PYTHON, Failed, all_pids, read_bytes

# psycopg2 and redis come from Debian's python3-psycopg2 and python3-redis.
APP = Path(__file__).resolve().parents[1] / "fixtures/dbapp.py"


class Data:
    """ENVCTL_DATA_DIR of a test: servers of another user have to get through, and it is gone afterwards."""

    def __init__(self, w):
        self.w = w
        self.path = Path(tempfile.mkdtemp(prefix="e2e-data-"))
        self.path.chmod(0o711)
        w.endings.append(self.remove)
        w.env["ENVCTL_DATA_DIR"] = str(self.path)
        w.env["PATH"] += ":/usr/sbin:/sbin"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.w.envctl("stop-all")
        self.remove()

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)

    def passwords(self):
        return [p.read_text().strip() for p in self.path.rglob("password")]


def configure(w, extra="", mode="MAIN", postgres=True, redis=True, **keys):
    """A backend that uses what it is given, and the dependencies."""
    (w.repo / "backend").mkdir(exist_ok=True)
    w.write("backend/README", "a service\n")
    values = {
        "ENVCTL_BACKEND_START_CMD": f"{PYTHON} -S -E {APP} --port {{port}}",
        "MAIN_FRONTEND_ENABLE": False,
        "TREES_FRONTEND_ENABLE": False,
        f"{mode}_POSTGRES_ENABLE": postgres,
        f"{mode}_REDIS_ENABLE": redis,
        "DB_PORT": w.port + 40,
        "REDIS_PORT": w.port + 60,
        **keys,
    }
    w.configure(extra, **values)
    w.commit()


def components(state, project="Main"):
    return state["requirements"][project]["components"]


def get(url, path=""):
    """One request; the text of the answer."""
    done = subprocess.run(["curl", "-sS", "--max-time", "20", url + path], capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"curl {url}{path}: {done.stderr.strip()}")
    return done.stdout


def argvs():
    """What anybody can read of every process."""
    return b"\n".join(read_bytes(f"/proc/{pid}/cmdline").replace(b"\0", b" ") for pid in all_pids()).decode(errors="replace")


def files_with(top, text, skip=r"/password$"):
    """Files below a directory that contain a text."""
    found = []
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if not re.search(skip, path) and text.encode() in read_bytes(path):
                found.append(path)
    return found
