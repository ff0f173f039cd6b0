"""How long healthwait makes people wait, beside what is used in its place.

    python3 wait.py --bin BIN_DIR --figures FILE [--runs N] [--only PART]

Whole processes. A service is a bound socket, which refuses connections, until it begins to listen; from that moment on it
answers. Time runs on the system's monotonic clock. Programs that are compared take turns within each run, so that a drift of
the machine's speed is in all of them; medians are what counts.

  wait    from the moment a service begins to answer to the program's exit. That moment is random, so that it falls anywhere
          between two tries.
  start   from the start of the program to its first connection.
  many    one target and a thousand, whose services begin to answer three seconds after the start: time and peak memory.
"""

import argparse
import json
import os
import random
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PARSER = argparse.ArgumentParser()
PARSER.add_argument("--bin", required=True)
PARSER.add_argument("--figures", required=True)
PARSER.add_argument("--runs", type=int, default=31)
PARSER.add_argument("--only", choices=["wait", "start", "many"])
ARGUMENTS = PARSER.parse_args()
HEALTHWAIT = f"{ARGUMENTS.bin}/healthwait"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
MANY, BEGINS = 1000, 3.0
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class Services:
    """So many services, each with a port of its own, in one thread."""

    def __init__(self, count):
        self.listeners = []
        for _ in range(count):
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            listener.setblocking(False)
            self.listeners.append(listener)
        self.urls = [f"http://127.0.0.1:{listener.getsockname()[1]}/" for listener in self.listeners]
        self.ports = [listener.getsockname()[1] for listener in self.listeners]
        self.first, self.begun = None, None
        self.poll, self.ends = select.epoll(), threading.Event()
        self.known = {listener.fileno(): listener for listener in self.listeners}
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def begin(self):
        """Begins to answer; the moment is that of the first service."""
        self.begun = time.monotonic()
        for listener in self.listeners:
            listener.listen(64)
            self.poll.register(listener, select.EPOLLIN)

    def serve(self):
        open_connections = {}
        while not self.ends.is_set():
            for number, _ in self.poll.poll(0.05):
                if number in self.known:
                    try:
                        connection, _ = self.known[number].accept()
                    except BlockingIOError:
                        continue
                    if self.first is None:
                        self.first = time.monotonic()
                    connection.setblocking(False)
                    open_connections[connection.fileno()] = connection
                    self.poll.register(connection, select.EPOLLIN)
                    continue
                connection = open_connections.pop(number)
                try:
                    if connection.recv(65536):
                        connection.send(ANSWER)
                except OSError:
                    pass
                connection.close()
        for connection in open_connections.values():
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.thread.join()
        for listener in self.listeners:
            listener.close()


def run(command, services, delay):
    """Runs a command whose services begin after a delay; answers its start and its end."""
    begun = time.monotonic()
    process = subprocess.Popen(command, **QUIET)
    time.sleep(delay)
    services.begin()
    status = process.wait()
    ended = time.monotonic()
    if status != 0:
        sys.exit(f"{' '.join(command[:4])} ended with {status}")
    return begun, ended


def figures(samples):
    samples = sorted(sample * 1000 for sample in samples)
    return {"median_ms": round(statistics.median(samples), 1), "min_ms": round(samples[0], 1), "max_ms": round(samples[-1], 1)}


def loop(pause):
    """The loop that people write in a shell."""
    return lambda url, _: ["sh", "-c", f'until curl -fsS -o /dev/null "$0" 2>/dev/null; do sleep {pause}; done', url]


def wait():
    programs = {
        "healthwait": lambda url, _: [HEALTHWAIT, url],
        "healthwait --interval 200ms": lambda url, _: [HEALTHWAIT, "--interval=200ms", url],
        "healthwait --interval 1s": lambda url, _: [HEALTHWAIT, "--interval=1s", url],
        "curl, sleep 1": loop(1),
        "curl, sleep 0.05": loop(0.05),
    }
    if shutil.which("wait-for-it"):
        programs["wait-for-it"] = lambda _, port: ["wait-for-it", "-q", "-t", "60", f"127.0.0.1:{port}"]
    samples = {name: [] for name in programs}
    for _ in range(ARGUMENTS.runs):
        for name, command in programs.items():
            with Services(1) as services:
                _, ended = run(command(services.urls[0], services.ports[0]), services, random.uniform(1.0, 2.0))
                samples[name].append(ended - services.begun)
    return {name: figures(values) for name, values in samples.items()}


def start():
    samples = []
    for _ in range(ARGUMENTS.runs + 1):
        with Services(1) as services:
            services.begin()
            begun = time.monotonic()
            subprocess.run([HEALTHWAIT, services.urls[0]], check=True, **QUIET)
            samples.append(services.first - begun)
    # The first run has warmed the machine up.
    return {"start to first try": figures(samples[1:])}


def many():
    result = {}
    samples, peaks, processor = {1: [], MANY: []}, {1: [], MANY: []}, {1: [], MANY: []}
    for _ in range(max(3, ARGUMENTS.runs // 5)):
        for count in samples:
            with Services(count) as services, tempfile.NamedTemporaryFile("r") as file:
                # A process begins with the peak of the one that started it, so that one has to be small.
                timed = ["/usr/bin/time", "-f", "%M %U %S", "-o", file.name, HEALTHWAIT, *services.urls]
                begun, ended = run(timed, services, BEGINS)
                samples[count].append(ended - begun)
                peak, user, system = file.read().split()
                peaks[count].append(int(peak) / 1024)
                processor[count].append(float(user) + float(system))
    for count in samples:
        result[f"targets: {count}"] = figures(samples[count]) | {
            "peak_mib": round(max(peaks[count]), 1), "cpu_ms": round(statistics.median(processor[count]) * 1000)}
    ratio = statistics.median(samples[MANY]) / statistics.median(samples[1])
    result["a thousand to one"] = {"times": round(ratio, 2)}
    return result


# What issue 5 asks for: the most that a figure may be.
WANTED = [
    ("healthwait", "median_ms", 60), ("healthwait --interval 200ms", "median_ms", 205),
    ("healthwait --interval 1s", "median_ms", 1005), ("start to first try", "median_ms", 10),
    (f"targets: {MANY}", "peak_mib", 64), ("a thousand to one", "times", 1.2),
]

parts = {"wait": wait, "start": start, "many": many}
found = {}
for name, part in parts.items():
    if ARGUMENTS.only in (None, name):
        found.update(part())
with open(ARGUMENTS.figures, "w") as file:
    json.dump({"runs": ARGUMENTS.runs, "figures": found}, file, indent=2)
    file.write("\n")
wanted = {(name, key): most for name, key, most in WANTED}
for name, row in found.items():
    texts = []
    for key, value in row.items():
        most = wanted.get((name, key))
        texts.append(f"{key} {value}" + (f" (wanted: {most} at most{'' if value <= most else ', MISSED'})" if most else ""))
    print(f"{name:28} {'  '.join(texts)}")
