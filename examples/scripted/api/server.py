"""A small API: /healthz, / with what the clock says, and /hello, which sends a mail. Standard library only."""

import argparse
import json
import os
import smtplib
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/healthz":
            return self.answer(200, {"ok": True})
        if self.path == "/hello":
            to = urllib.parse.urlsplit(os.environ["SMTP_URL"])
            with smtplib.SMTP(to.hostname, to.port, timeout=2) as smtp:
                smtp.sendmail("api@localhost", ["you@localhost"], "Subject: Hello\r\n\r\nfrom the API\r\n")
            return self.answer(200, {"sent": True})
        with urllib.request.urlopen(os.environ["CLOCK_URL"], timeout=2) as response:
            seconds = int(response.read())
        return self.answer(200, {"project": os.environ.get("SHOP_PROJECT"), "seconds": seconds})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
