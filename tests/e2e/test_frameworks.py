#!/usr/bin/env python3
"""Applications of real frameworks, as Debian has them: found by their files, started by the command that was found, and all of their
processes (reloaders too) ended."""

from lib import check, contains, equal, listens, main, test
from deps import get

PYPROJECT = '[project]\nname = "api"\nversion = "0.1"\ndependencies = ["fastapi", "uvicorn"]\n'
FASTAPI = 'from fastapi import FastAPI\n\nservice = FastAPI()\n\n\n@service.get("/")\ndef index():\n    return "fastapi"\n'
FLASK = 'from flask import Flask\n\napp = Flask(__name__)\n\n\n@app.get("/")\ndef index():\n    return "flask"\n'
MANAGE = (
    "import os\nimport sys\n\nfrom django.core.management import execute_from_command_line\n\n"
    'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")\nexecute_from_command_line(sys.argv)\n'
)
SETTINGS = 'DEBUG = True\nSECRET_KEY = "not one"\nROOT_URLCONF = "site1.urls"\nALLOWED_HOSTS = ["*"]\n'
URLS = (
    "from django.http import HttpResponse\nfrom django.urls import path\n\n"
    'urlpatterns = [path("", lambda request: HttpResponse("django"))]\n'
)
NODE = 'require("http").createServer((q, r) => r.end(process.env.VITE_BACKEND_URL)).listen(process.env.PORT, "127.0.0.1");\n'


def run(w, files, evidence, answer):
    # The distribution's interpreter is the one that has the frameworks.
    w.env["PATH"] = "/usr/bin:/bin:" + w.env["PATH"]
    for path, text in {"frontend/package.json": '{"scripts": {"dev": "node server.js"}}\n', "frontend/server.js": NODE, **files}.items():
        w.write(path, text)
    w.configure()
    w.commit()
    contains(w.envctl("explain-startup", rc=0).out, evidence, "evidence")
    w.start()
    services = w.saved_state()["services"]
    contains(get(services["Main Backend"]["url"]), answer, "the backend's answer")
    equal(get(services["Main Frontend"]["url"]), services["Main Backend"]["url"], "the frontend knows the backend")
    pid = services["Main Frontend"]["pid"]
    w.envctl("restart", "--service", "backend", rc=0)
    contains(get(services["Main Backend"]["url"]), answer, "after a restart")
    equal(w.saved_state()["services"]["Main Frontend"]["pid"], pid, "the frontend is left alone")
    w.stop_all()
    check(not listens(w.port), "the port is free")


@test
def fastapi(w):
    run(w, {"backend/pyproject.toml": PYPROJECT, "backend/app/__init__.py": "", "backend/app/main.py": FASTAPI},
        "`service` found in `backend/app/main.py:3`", "fastapi")


@test
def flask(w):
    run(w, {"backend/requirements.txt": "flask\n", "backend/app.py": FLASK}, "`app` found in `backend/app.py:3`", "flask")


@test
def django(w):
    run(w, {"backend/requirements.txt": "django\n", "backend/manage.py": MANAGE, "backend/site1/__init__.py": "",
            "backend/site1/settings.py": SETTINGS, "backend/site1/urls.py": URLS}, "manage.py", "django")


main()
