"""A mailbox for development: takes every mail on one port, and shows the subjects on another. Standard library only."""

import argparse
import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

subjects = []


class Smtp(socketserver.StreamRequestHandler):
    """As much SMTP as a client needs to get rid of a mail."""

    def handle(self):
        self.reply("220 mailbox")
        for line in self.rfile:
            word = line.split(b" ")[0].strip().upper()
            if word == b"DATA":
                self.reply("354 end with a line that is a dot")
                self.take()
            self.reply("221 bye" if word == b"QUIT" else "250 ok")
            if word == b"QUIT":
                return

    def take(self):
        for line in self.rfile:
            if line.strip() == b".":
                return
            if line.lower().startswith(b"subject:"):
                subjects.append(line[8:].decode(errors="replace").strip())

    def reply(self, text):
        self.wfile.write(text.encode() + b"\r\n")


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(subjects).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--smtp", type=int, required=True)
    parser.add_argument("--http", type=int, required=True)
    options = parser.parse_args()
    smtp = socketserver.ThreadingTCPServer(("127.0.0.1", options.smtp), Smtp)
    threading.Thread(target=smtp.serve_forever, daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", options.http), Page).serve_forever()
