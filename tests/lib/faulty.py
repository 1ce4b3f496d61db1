"""A small JSON-RPC and websocket server that misbehaves exactly as told: what a probe must report is then known.

Run as a program it prints its two ports (HTTP, websocket), one a line, and serves until it is killed. --fault KIND@N
makes it misbehave at the request with the number N (its X-Changeover-Probe header):
  drop       read it, never answer
  reset      end the connection with a RST
  close      end it in the middle of the answer
  swap       answer with the id of another request
  twice      answer two times
  status     503
  error      a JSON-RPC error
  garbage    not HTTP
  stale      a slot 50 behind
  freeze=S   everything stands still for S seconds, from this request on
  refuse=S   the HTTP port is closed for S seconds, and open connections are cut (RST)
  kick       every websocket is cut; kick-close: with a close frame
  skip=K     the slots jump by K
"""
import argparse
import asyncio
import base64
import hashlib
import json
import socket
import ssl
import struct
import sys
import time


class Server:
    def __init__(self, args):
        self.args = args
        self.faults = {}
        for text in args.fault:
            kind, at = text.split("@")
            name, _, value = kind.partition("=")
            self.faults.setdefault(int(at), []).append((name, float(value or 0)))
        self.slot = 1000
        self.writers = set()
        self.sockets = set()
        self.server = None
        self.tls, self.tls_ws = (context(c) for c in (args.tls, args.tls_ws))

    async def listen(self, port):
        self.server = await asyncio.start_server(self.http, "127.0.0.1", port, backlog=4096, ssl=self.tls)

    async def start(self):
        await self.listen(self.args.port)
        self.port = self.server.sockets[0].getsockname()[1]
        self.ws_server = await asyncio.start_server(self.ws, "127.0.0.1", self.args.ws_port, backlog=4096, ssl=self.tls_ws)
        print(self.port, self.ws_server.sockets[0].getsockname()[1], sep="\n", flush=True)
        while True:
            await asyncio.sleep(self.args.slot_ms / 1e3)
            self.slot += 1
            self.notify()

    def notify(self):
        event = {"jsonrpc": "2.0", "method": "slotNotification",
                 "params": {"result": {"slot": self.slot, "parent": self.slot - 1, "root": self.slot - 32}, "subscription": 0}}
        data = frame(json.dumps(event).encode())
        for w in self.sockets:
            w.write(data)

    @staticmethod
    def cut(writer):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def refuse(self, seconds):
        self.server.close()
        for w in list(self.writers):
            self.cut(w)
        await asyncio.sleep(seconds)
        await self.listen(self.port)

    async def http(self, reader, writer):
        self.writers.add(writer)
        try:
            while await self.one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        headers = {k.strip().lower(): v.strip() for k, _, v in (l.partition(":") for l in lines[1:] if l)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        number = int(headers.get("x-changeover-probe", 0))
        body = json.loads(raw) if raw else {}
        if "slow" in raw.decode() or "slow" in lines[0]:
            await asyncio.sleep(self.args.slow)
        return await self.answer(number, body, writer, headers)

    async def answer(self, number, body, writer, headers):
        answer = {"jsonrpc": "2.0", "id": body.get("id"), "result": self.slot if body.get("method") == "getSlot" else "ok"}
        status, times, keep = "200 OK", 1, headers.get("connection") != "close"
        for name, value in self.faults.pop(number, []):  # once: a request that is sent again succeeds
            if name == "drop":
                return True
            if name == "reset":
                self.cut(writer)
                return False
            if name == "freeze":
                time.sleep(value)
            if name == "refuse":
                asyncio.ensure_future(self.refuse(value))
                return True
            if name == "kick" or name == "kick-close":
                self.kick(name == "kick-close")
            if name == "garbage":
                writer.write(b"SMTP ready when you are\r\n\r\n")
                return False
            if name == "swap":
                answer["id"] = number + 1
            if name == "error":
                answer = {"jsonrpc": "2.0", "id": body.get("id"), "error": {"code": -32005, "message": "behind"}}
            if name == "stale":
                answer["result"] = self.slot - 50
            if name == "skip":
                self.slot += int(value)
            if name == "twice":
                times = 2
            if name == "status":
                status = "503 Service Unavailable"
            if name == "close":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
                return False
        data = json.dumps(answer).encode()
        colour = self.args.colour if number < self.args.flip_at else self.args.flip_colour
        if self.args.name_in_body:
            answer["context"] = {"node": colour}
            data = json.dumps(answer).encode()
        extra = "" if keep else "Connection: close\r\n"
        out = f"HTTP/1.1 {status}\r\n{extra}Content-Type: application/json\r\nX-Changeover-Colour: {colour}\r\n".encode()
        if self.args.chunked:
            half = len(data) // 2
            out += b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (
                half, data[:half], len(data) - half, data[half:])
        else:
            out += b"Content-Length: %d\r\n\r\n%s" % (len(data), data)
        writer.write(out * times)
        return keep

    def kick(self, politely):
        for w in list(self.sockets):
            if politely:
                w.write(b"\x88\x02\x03\xe9")
                w.close()
            else:
                self.cut(w)
        self.sockets.clear()

    async def ws(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            key = next(l.split(":")[1].strip() for l in head.split("\r\n") if l.lower().startswith("sec-websocket-key"))
            accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
            writer.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
            assert b"slotSubscribe" in await client_frame(reader)
            writer.write(frame(b'{"jsonrpc":"2.0","result":0,"id":1}') + frame(b"", 9))
            self.sockets.add(writer)
            while True:
                await client_frame(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.sockets.discard(writer)
            writer.close()


def context(certificate):
    if not certificate:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    return made


async def client_frame(reader):
    first, second = await reader.readexactly(2)
    assert first & 0x80 and second & 0x80, "a client's frame has to be whole and masked"
    n = second & 127
    if n == 126:
        n = struct.unpack(">H", await reader.readexactly(2))[0]
    mask = await reader.readexactly(4)
    data = await reader.readexactly(n)
    return bytes(b ^ mask[i % 4] for i, b in enumerate(data))


def frame(payload, opcode=1):
    n = len(payload)
    return bytes([0x80 | opcode]) + (bytes([n]) if n < 126 else b"\x7e" + struct.pack(">H", n)) + payload


def main(kind=Server):
    p = argparse.ArgumentParser()
    p.add_argument("--fault", action="append", default=[])
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--ws-port", type=int, default=0)
    p.add_argument("--slow", type=float, default=1.0)
    p.add_argument("--tls", help="certificate and key")
    p.add_argument("--tls-ws", help="the same for websockets")
    p.add_argument("--slot-ms", type=float, default=20)
    p.add_argument("--name-in-body", action="store_true")
    p.add_argument("--chunked", action="store_true")
    p.add_argument("--colour", default="green")
    p.add_argument("--flip-at", type=int, default=sys.maxsize)
    p.add_argument("--flip-colour", default="blue")
    asyncio.run(kind(p.parse_args()).start())


if __name__ == "__main__":
    main()
