"""A receiver of webhooks inside the lab: refuses each message once, then takes it, and writes both down.

    python webhook_sink.py ADDRESS PORT FILE

FILE gets one JSON line for each request: {"id", "type", "status", "signature", "timestamp", "body"}.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main() -> None:
    address, port, file = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    seen: set[str] = set()

    class Request(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            number = self.headers["webhook-id"]
            status = 204 if number in seen else 503
            seen.add(number)
            line = {
                "id": number,
                "type": json.loads(body)["type"],
                "status": status,
                "signature": self.headers["webhook-signature"],
                "timestamp": self.headers["webhook-timestamp"],
                "body": body,
            }
            with file.open("a") as log:
                log.write(json.dumps(line) + "\n")
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer((address, port), Request).serve_forever()


if __name__ == "__main__":
    main()
