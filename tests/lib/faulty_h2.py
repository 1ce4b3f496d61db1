"""faulty.py over TLS and HTTP/2: the same faults, the number of a request being its JSON-RPC id. Of its own:
  refuse-stream   the stream is refused (REFUSED_STREAM), as by a server that goes: a client may send it again by itself
  goaway          GOAWAY that takes nothing back, and the connection ends when all on it is answered
`reset` and `close` end the stream, before and in the middle of its answer; `cut` the whole connection.
"""
import asyncio
import json
import ssl
import struct
import time

import faulty

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INTERNAL_ERROR, REFUSED_STREAM = 2, 7


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    """A header field without indexing, nothing compressed."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


class Http2(faulty.Server):
    def __init__(self, args):
        super().__init__(args)
        self.tls.set_alpn_protocols(["h2"])

    async def http(self, reader, writer):
        self.writers.add(writer)
        bodies = {}
        try:
            assert await reader.readexactly(len(PREFACE)) == PREFACE
            writer.write(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 1000)))
            while True:
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big") & 0x7fffffff
                if kind in (SETTINGS, PING) and not flags & ACK:
                    writer.write(frame(kind, ACK, 0, payload if kind == PING else b""))
                elif kind == DATA:
                    bodies[stream] = bodies.get(stream, b"") + payload
                    writer.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", max(1, len(payload)))))
                    if flags & END_STREAM and not await self.stream(stream, json.loads(bodies.pop(stream)), writer):
                        return
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def stream(self, stream, body, writer):
        number = body["id"]
        answer = {"jsonrpc": "2.0", "id": number, "result": self.slot}
        status, times = b"200", 1
        for name, value in self.faults.pop(number, []):
            if name == "drop":
                return True
            if name in ("reset", "refuse-stream"):
                code = INTERNAL_ERROR if name == "reset" else REFUSED_STREAM
                writer.write(frame(RST_STREAM, 0, stream, struct.pack(">I", code)))
                return True
            if name == "cut":
                self.cut(writer)
                return False
            if name == "goaway":
                writer.write(frame(GOAWAY, 0, 0, struct.pack(">II", stream, 0)))
            if name == "freeze":
                time.sleep(value)
            if name == "refuse":
                asyncio.ensure_future(self.refuse(value))
                return True
            if name == "swap":
                answer["id"] = number + 1
            if name == "stale":
                answer["result"] = self.slot - 50
            if name == "twice":
                times = 2
            if name == "status":
                status = b"503"
            if name == "error":
                answer = {"jsonrpc": "2.0", "id": number, "error": {"code": -32005, "message": "behind"}}
            if name == "close":
                writer.write(frame(HEADERS, END_HEADERS, stream, literal(b":status", b"200")) + frame(DATA, 0, stream, b"{") +
                             frame(RST_STREAM, 0, stream, struct.pack(">I", INTERNAL_ERROR)))
                return True
        head = literal(b":status", status) + literal(b"x-changeover-colour", self.args.colour.encode())
        whole = frame(HEADERS, END_HEADERS, stream, head) + frame(DATA, END_STREAM, stream, json.dumps(answer).encode())
        writer.write(whole * times)
        return True


if __name__ == "__main__":
    faulty.main(Http2)
