"""A collector of traces: takes OTLP over HTTP, JSON, gzip or not, from who brings the key."""

import gzip
import http.server
import json
import threading

KEY = "k3y=="


class Sink(http.server.ThreadingHTTPServer):
    """Keeps the spans it gets, each with the service it comes from and its attributes as a dict."""

    def __init__(self):
        self.spans = []
        self.requests = self.packed = self.refused = 0
        super().__init__(("127.0.0.1", 0), Request)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()


class Request(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests += 1
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
            self.server.packed += 1
        right = self.path == "/v1/traces" and self.headers["authorization"] == f"Bearer {KEY}"
        if right:
            self.take(json.loads(body))
        else:
            self.server.refused += 1
        self.send_response(200 if right else 401)
        self.send_header("content-length", "0")
        self.end_headers()

    def take(self, body):
        for resource in body["resourceSpans"]:
            about = values(resource["resource"]["attributes"])
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    self.server.spans.append(
                        {**span, "service": about["service.name"], "attributes": values(span["attributes"])}
                    )

    def log_message(self, *_):
        pass


def values(attributes):
    """{key: value} of OTLP's list."""
    return {a["key"]: next(iter(a["value"].values())) for a in attributes}
