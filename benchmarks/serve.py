"""The servers that the daemon is compared with: `serve.py empty BODY_FILE PORT`, `serve.py history DATABASE PORT`.

`empty`: a Flask view that only returns the same bytes, under the daemon's waitress settings.
`history`: the daemon's own application over a history to which nothing is written.
"""

import logging
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flask import Flask, Response

from service.web.server import Server


def empty_app(body: bytes) -> Flask:
    app = Flask("empty", static_folder=None)

    @app.route("/")
    def get() -> Response:
        return Response(body, mimetype="application/json")

    return app


def history_app(database: Path) -> Flask:
    from service.answers.monitor import ResourceMonitor
    from service.clock import Clock
    from service.config import load
    from service.store.reader import History
    from service.web.app import create_app

    settings, _ = load(environment={}, options={"storage.path": str(database)})
    monitor = ResourceMonitor(History(database, pooled=True), settings, Clock())
    return create_app(monitor, settings, Clock(), _nobody_asks, lambda: {})


def _nobody_asks() -> Any:
    raise NotImplementedError


def main() -> None:
    kind, source, port = sys.argv[1:]
    logging.basicConfig(level=logging.INFO)
    app = empty_app(Path(source).read_bytes()) if kind == "empty" else history_app(Path(source))
    server = Server(app, "127.0.0.1", int(port))
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    print(server.address, flush=True)
    server.serve()


if __name__ == "__main__":
    main()
