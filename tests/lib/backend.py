"""A tiny HTTP/1.1 server in threads that says which instance it is: the two colours of traffic tests.

GET /health: "ok" (or .health); GET or POST /slow: answers after .slow seconds; anything else: .name.
The next .cut requests are executed (.executed has method and body of each) and the connection is cut instead of an answer.
Each answer has X-Instance: .name. `Upgrade: websocket` is answered with 101 and kept open.
"""
import socket
import socketserver
import threading
import time


class Backend:
    def __init__(self, port, name):
        self.port, self.name, self.health, self.slow = port, name, "ok", 1.0
        self.requests, self.checks, self.in_flight, self.websockets = 0, 0, 0, 0
        self.cut, self.executed = 0, []
        self.lock = threading.Lock()
        self.connections = set()
        backend = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self):
                backend.connections.add(self.connection)
                try:
                    while backend.serve(self.rfile, self.wfile):
                        pass
                except OSError:
                    pass
                finally:
                    backend.connections.discard(self.connection)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 256

        self.server = Server(("127.0.0.1", port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)

    def serve(self, rfile, wfile):
        line = rfile.readline()
        if not line:
            return False
        method, path, _ = line.decode().split()
        headers = {}
        while (h := rfile.readline()) not in (b"\r\n", b""):
            key, value = h.decode().split(":", 1)
            headers[key.strip().lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        body = rfile.read(length)
        if len(body) < length:      # the client broke off: no request
            return False
        if headers.get("upgrade", "").lower() == "websocket":
            with self.lock:
                self.websockets += 1
            wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n")
            while rfile.read1(4096):
                pass
            with self.lock:
                self.websockets -= 1
            return False
        counted = path != "/health"
        with self.lock:
            self.requests += counted
            self.checks += not counted
            self.in_flight += counted
            cut = counted and self.cut > 0
            self.cut -= cut
            if counted:
                self.executed.append((method, body.decode(errors="replace")))
        if cut:
            with self.lock:
                self.in_flight -= 1
            return False
        if path.startswith("/slow"):
            time.sleep(self.slow)
        text = self.health if path == "/health" else self.name + ("" if not body else f" {len(body)}")
        wfile.write((f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\nX-Instance: {self.name}\r\n\r\n{text}")
                    .encode())
        with self.lock:
            self.in_flight -= counted
        return True

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def close_connections(self):
        """So that the next request comes on a new one."""
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        """Gone at once, open connections and all. Once more is fine."""
        if not self.thread.is_alive():
            return
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        self.close_connections()
