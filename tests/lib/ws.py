"""A small websocket client (RFC 6455) for tests, standard library only."""
import base64
import hashlib
import json
import os
import socket
import struct

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WsError(Exception):
    """The server refused the upgrade, or broke the protocol."""


class WsClient:
    """Connect and upgrade. `backend` is the X-Backend header of the 101 answer."""

    def __init__(self, port, path="/", timeout=5.0, host="127.0.0.1"):
        self.sock = socket.create_connection((host, port), timeout=timeout)
        self._in = b""
        key = base64.b64encode(os.urandom(16))
        self.sock.sendall(
            b"GET " + path.encode() + b" HTTP/1.1\r\nHost: " + f"{host}:{port}".encode()
            + b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: " + key + b"\r\n\r\n")
        head = self._until(b"\r\n\r\n").decode()
        self.headers = {k.lower(): v.strip() for k, _, v in
                        (line.partition(":") for line in head.split("\r\n")[1:])}
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        if " 101 " not in head.split("\r\n")[0] or self.headers.get("sec-websocket-accept") != accept:
            raise WsError(head)
        self.backend = self.headers.get("x-backend")

    def _more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError("the websocket is closed")
        self._in += data

    def _until(self, mark):
        while mark not in self._in:
            self._more()
        head, _, self._in = self._in.partition(mark)
        return head

    def _bytes(self, n):
        while len(self._in) < n:
            self._more()
        data, self._in = self._in[:n], self._in[n:]
        return data

    def send_frame(self, opcode, payload, final=True):
        mask = os.urandom(4)
        n = len(payload)
        head = bytes([(0x80 if final else 0) | opcode])
        if n < 126:
            head += bytes([0x80 | n])
        elif n < 65536:
            head += bytes([0x80 | 126]) + struct.pack("!H", n)
        else:
            head += bytes([0x80 | 127]) + struct.pack("!Q", n)
        self.sock.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def receive_frame(self):
        """(opcode, payload); EOFError when the connection is closed."""
        first, second = self._bytes(2)
        n = second & 127
        if n == 126:
            n = struct.unpack("!H", self._bytes(2))[0]
        elif n == 127:
            n = struct.unpack("!Q", self._bytes(8))[0]
        return first & 15, self._bytes(n)

    def send_json(self, value):
        self.send_frame(1, json.dumps(value).encode())

    def receive_json(self):
        """The next text message; pings are answered, a close is an EOFError."""
        while True:
            opcode, payload = self.receive_frame()
            if opcode == 1:
                return json.loads(payload)
            if opcode == 9:
                self.send_frame(10, payload)
            if opcode == 8:
                raise EOFError("the websocket was closed by the server")

    def subscribe_slots(self):
        """slotSubscribe; returns the subscription's id."""
        self.send_json({"jsonrpc": "2.0", "id": 1, "method": "slotSubscribe"})
        return self.receive_json()["result"]

    def next_slot(self):
        while True:
            message = self.receive_json()
            if message.get("method") == "slotNotification":
                return message["params"]["result"]["slot"]

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
