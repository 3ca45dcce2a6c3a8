"""Entry point of the shop's backend: `python3 main.py --port 8000`."""

import argparse
import os
import signal
import threading

from shop.server import make_server
from shop.store import Store


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description="The shop's HTTP API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT") or 8000))
    return parser.parse_args(argv)


def main(argv=None, make_store=Store.with_demo_products):
    args = parse_args(argv)
    server = make_server(args.host, args.port, make_store())

    def stop(signum, _frame):
        # shutdown() waits for serve_forever() to return, which runs in this very thread: so ask from another one.
        print(f"{signal.Signals(signum).name}: stopping", flush=True)
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"shop API on http://{args.host}:{server.server_port}", flush=True)
    with server:
        server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
