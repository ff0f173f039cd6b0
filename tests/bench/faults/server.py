"""Connections to the lab's parts: the application server's engine, its agent, and a relay that can be cut."""

import bisect
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
LAB = HERE.parents[1] / "lab/lab.sh"
LAB_DIR = os.environ["LAB_DIR"]
SOCKET = os.environ["LAB_APP_DOCKER_HOST"].removeprefix("unix://")


def lab(*arguments):
    run = subprocess.run(["bash", LAB, *arguments, "--dir", LAB_DIR], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if run.returncode != 0:
        sys.exit(f"lab.sh {' '.join(arguments)}: {run.stderr}")


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


def engine(method, path, **query):
    """One call; the answer, or none where there is nothing of that name."""
    connection = Connection("engine", timeout=60)
    try:
        connection.request(method, f"{path}?{urllib.parse.urlencode(query)}")
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status == 404:
        return None
    if answer.status >= 400:
        sys.exit(f"{method} {path}: {answer.status} {body.decode()}")
    return json.loads(body) if body else None


def filters(**wanted):
    return json.dumps({key: [value] for key, value in wanted.items()})


def containers(app):
    listed = engine("GET", "/containers/json", all=1, filters=filters(label=f"dev.slipway.app={app}"))
    seen = [engine("GET", f"/containers/{one['Id']}/json") for one in listed]
    return [one for one in seen if one is not None]


def locks(app):
    return engine("GET", "/volumes", filters=filters(label=f"dev.slipway.lock={app}"))["Volumes"] or []


def images(app):
    """The names of the images of an application's own repository."""
    named = [name for one in engine("GET", "/images/json") for name in one["RepoDigests"] or []]
    return [name for name in named if f"/{app}@" in name]


def clear(app):
    """Removes all that there is of an application."""
    for one in containers(app):
        engine("DELETE", f"/containers/{one['Id']}", force=1, v=1)
    for one in locks(app):
        engine("DELETE", f"/volumes/{one['Name']}", force=1)
    engine("DELETE", f"/networks/slipway-{app}")
    for name in images(app):
        engine("DELETE", f"/images/{name}", force=1)


def events(since, each):
    """Hands on what the engine tells of itself from a time on, until it ends or `each` wants no more."""
    connection = Connection("engine", timeout=60)
    try:
        connection.request("GET", f"/events?since={since:.6f}")
        for line in connection.getresponse():
            if each(json.loads(line)) is False:
                return
    except (OSError, http.client.HTTPException, ValueError):
        pass  # The engine ends, as it was told to.
    finally:
        connection.close()


class Agent:
    """See agent.py; what it was answered is kept with the times."""

    def __init__(self, port):
        # The server sees nothing of this machine but /usr.
        script = (HERE / "agent.py").read_text(encoding="utf-8")
        command = ["bash", LAB, "enter", "app", "--dir", LAB_DIR, "--", "python3", "-c", script]
        self.process = subprocess.Popen(
            [*command, os.environ["LAB_APP_ADDR"], str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.asked, self.each, self.ended = [], None, threading.Event()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            first, *rest = line.split(maxsplit=2)
            if first == "ended":
                self.ended.set()
                continue
            begun, ended, answer = float(first), float(rest[0]), rest[1].strip()
            self.asked.append((ended, begun, answer))
            each = self.each
            if each and answer != "-":
                each(begun, answer)

    def end(self, name, number):
        self.ended.clear()
        self.process.stdin.write(f"end {name} {int(number)}\n")
        self.process.stdin.flush()
        if not self.ended.wait(40):
            sys.exit(f"{name} on the application server does not end")

    def between(self, begin, end):
        asked = list(self.asked)
        return asked[bisect.bisect(asked, (begin,)):bisect.bisect(asked, (end,))]

    def longest_gap(self, begin, end):
        """Seconds between two good answers, from the last one before until the first one after."""
        good = [ended for ended, _, answer in list(self.asked) if answer != "-"]
        good = good[max(0, bisect.bisect(good, begin) - 1):bisect.bisect(good, end) + 1]
        return max((after - before for before, after in zip(good, good[1:])), default=end - begin)

    def failed(self, begin, end):
        return sum(answer == "-" for _, _, answer in self.between(begin, end))

    def first_after(self, begin, wanted, patience):
        """The first good answer to a request that was sent after that, if one comes."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            for _, begun, answer in list(self.asked[-200:]):
                if begun >= begin and answer != "-" and wanted(answer):
                    return answer
            time.sleep(0.02)
        return None

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Relay:
    """Between here and the server's sshd: its connections can be broken, new ones are let through until it is closed."""

    def __init__(self, directory):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.pairs, self.closed = self.listener.getsockname()[1], [], False
        self.known_hosts = directory / "relay-known-hosts"
        with open(os.environ["LAB_KNOWN_HOSTS"], encoding="ascii") as file:
            keys = [line.split(maxsplit=1)[1] for line in file if line.strip()]
        self.known_hosts.write_text("".join(f"[127.0.0.1]:{self.port} {key}" for key in keys), encoding="ascii")
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection((os.environ["LAB_APP_ADDR"], 22))
            except OSError:
                return
            if self.closed:
                near.close(), far.close()
                continue
            self.pairs.append((near, far))
            for one, other in [(near, far), (far, near)]:
                threading.Thread(target=self.pass_on, args=(one, other), daemon=True).start()

    @staticmethod
    def pass_on(one, other):
        try:
            while data := one.recv(1 << 16):
                other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for one in pair:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                one.close()

    def close(self):
        """Lets nothing more through: those who come are turned away."""
        self.closed = True
        self.cut()

    def open(self):
        self.closed = False


def restart(agent, name, number):
    """Ends a part of the application server, and has the lab start it again; answers how long the latter took."""
    agent.end(name, number)
    begun = time.monotonic()
    lab("up")
    return time.monotonic() - begun


def pull_the_cable(seconds=5):
    link = ["ip", "link", "set", os.environ["LAB_APP_LINK"]]
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*sudo, *link, "down"], check=True)
    try:
        time.sleep(seconds)
    finally:
        subprocess.run([*sudo, *link, "up"], check=True)


# What happens to a deploy. A function is given the tool's process, the agent and the relay.
FAULTS = {
    "kill": lambda tool, agent, relay: tool.send_signal(signal.SIGKILL),
    "TERM": lambda tool, agent, relay: tool.send_signal(signal.SIGTERM),
    "INT": lambda tool, agent, relay: tool.send_signal(signal.SIGINT),
    "cut": lambda tool, agent, relay: relay.cut(),
    "lost": lambda tool, agent, relay: relay.close(),
    "cable": lambda tool, agent, relay: pull_the_cable(),
    "sshd": lambda tool, agent, relay: restart(agent, "sshd", signal.SIGKILL),
    "engine": lambda tool, agent, relay: restart(agent, "dockerd", signal.SIGTERM),
    "crash": lambda tool, agent, relay: restart(agent, "dockerd", signal.SIGKILL),
}
SIGNALS, RELAYED, ENGINE = ("TERM", "INT"), ("cut", "lost"), ("engine", "crash")
