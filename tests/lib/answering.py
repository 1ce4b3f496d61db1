"""A small server in threads that answers JSON-RPC as a node would, but for the one thing that a test wants wrong.

    with Answering(status=404) as s:
        s.url, s.port; s.status = 200
"""
import http.server
import json
import ssl
import threading


class Answering:
    def __init__(self, status=200, colour=None, cert=None):
        self.status, self.colour, self.result = status, colour, 1
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": outer.result}).encode()
                self.send_response(outer.status)
                if outer.colour:
                    self.send_header("X-Changeover-Colour", outer.colour)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256

            def handle_error(self, *_):     # a client that does not trust us hangs up
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        if cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*cert)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if cert else 'http'}://{'localhost' if cert else '127.0.0.1'}:{self.port}/"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
