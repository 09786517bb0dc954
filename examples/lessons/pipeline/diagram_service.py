"""A little HTTP service that draws a title as SVG: GET /health, POST /draw."""

import http.server
import json
import sys
import xml.sax.saxutils


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, "text/plain", "ok\n")
        else:
            self.answer(404, "text/plain", "no such page\n")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        title = json.loads(self.rfile.read(length))["title"]
        text = xml.sax.saxutils.escape(title)
        self.answer(
            200,
            "image/svg+xml",
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 120">'
            '<rect width="400" height="120" fill="#eef"/>'
            f'<text x="200" y="66" text-anchor="middle">{text}</text></svg>\n',
        )

    def answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 3001
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(f"listening on http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


main()
