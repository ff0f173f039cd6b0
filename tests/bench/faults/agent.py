"""Runs on the application server: asks the application as its users do, all the time, and ends processes when told to.

    agent.py ADDRESS PORT

A line `BEGUN ENDED ANSWER` a request: the machine's monotonic clock, and the version that answered well or `-`.
On stdin `end NAME SIGNAL` ends all processes whose name begins so, and is answered by `ended NUMBER` when they are gone.
"""

import asyncio
import os
import signal
import sys
import time

ADDRESS, PORT = sys.argv[1], int(sys.argv[2])
PAUSE, PATIENCE, INSIST = 0.04, 2, 25


def tell(line):
    """In one piece: two threads tell."""
    os.write(1, f"{line}\n".encode())


async def ask():
    reader, writer = await asyncio.open_connection(ADDRESS, PORT)
    try:
        writer.write(b"GET /health HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    return body.decode().strip() if head.split(b" ", 2)[1:2] == [b"200"] and body else "-"


async def one():
    begun = time.monotonic()
    try:
        answer = await asyncio.wait_for(ask(), PATIENCE)
    except (OSError, EOFError, asyncio.TimeoutError):
        answer = "-"
    tell(f"{begun:.4f} {time.monotonic():.4f} {answer}")


async def probe():
    under_way = set()
    while True:
        task = asyncio.create_task(one())
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        await asyncio.sleep(PAUSE)


def named(name):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                called, _, rest = file.read().partition("(")[2].rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if called.startswith(name) and rest.split()[0] != "Z":
            yield int(pid)


def end(name, number):
    ended, begun = set(), time.monotonic()
    while pids := list(named(name)):
        late = time.monotonic() - begun > INSIST
        for pid in pids:
            if pid not in ended or late:
                ended.add(pid)
                try:
                    os.kill(pid, signal.SIGKILL if late else number)
                except ProcessLookupError:
                    pass
        time.sleep(0.01)
    tell(f"ended {len(ended)}")


async def main():
    asyncio.create_task(probe())
    while line := await asyncio.to_thread(sys.stdin.readline):
        _, name, number = line.split()
        await asyncio.to_thread(end, name, int(number))
    os._exit(0)


asyncio.run(main())
