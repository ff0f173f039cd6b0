"""A quick web server to be swapped under load.

`/` and `/health` tell the version, a POST gets its body back, `/slow?seconds=N` takes that long for its answer,
`/work?ms=N` so much time of the processor. On SIGTERM it stops to accept, lets idle connections
go, finishes what is in flight, and ends.
"""

import asyncio
import signal
import time
from urllib.parse import parse_qs, urlsplit

with open("/version", encoding="ascii") as file:
    VERSION = file.read().strip()
STEP = 0.1


def number(target, name):
    return float(parse_qs(urlsplit(target).query)[name][0])


class Connection(asyncio.Protocol):
    all = set()
    ending = False

    def connection_made(self, transport):
        self.transport, self.buffer, self.busy = transport, b"", False
        Connection.all.add(self)

    def connection_lost(self, _):
        Connection.all.discard(self)

    def data_received(self, data):
        self.buffer += data
        if not self.busy:
            self.serve()

    def serve(self):
        """Answers the next request if it is complete."""
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        body, self.buffer = rest[:length], rest[length:]
        method, target, _ = first.split(" ")
        self.busy, self.last = True, headers.get("connection", "").lower() == "close"
        if target.startswith("/slow"):
            self.drip(max(1, round(number(target, "seconds") / STEP)))
            return
        if target.startswith("/work"):
            end = time.thread_time() + number(target, "ms") / 1000
            while time.thread_time() < end:
                pass
        body = body if method == "POST" else VERSION.encode()
        self.transport.write(self.head(len(body)) + body)
        self.answered()

    def head(self, length):
        self.last = self.last or Connection.ending
        close = "Connection: close\r\n" if self.last else ""
        return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX-Version: {VERSION}\r\n{close}\r\n".encode()

    def drip(self, steps, begun=False):
        """Sends the head at once and then a byte a step."""
        if not begun:
            self.transport.write(self.head(steps))
        else:
            self.transport.write(b".")
            steps -= 1
        if steps:
            asyncio.get_running_loop().call_later(STEP, self.drip, steps, True)
        else:
            self.answered()

    def answered(self):
        self.busy = False
        if self.last or Connection.ending:
            self.transport.close()
        elif self.buffer:
            self.serve()


async def main():
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(Connection, "", 8000, backlog=1024)
    await ended.wait()
    server.close()
    Connection.ending = True
    for connection in list(Connection.all):
        if not connection.busy:
            connection.transport.close()
    while Connection.all:
        await asyncio.sleep(0.01)


asyncio.run(main())
