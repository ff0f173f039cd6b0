"""One cell of the matrix: a deploy that something happens to at one of its steps, and a plain rerun after it."""

import json
import os
import subprocess
import threading
import time

import server

KEEP = 2
# A tool that was told to end has ten seconds, with a little for the machine; others as long as they try to connect again.
SIGNAL_LIMIT, LIMIT = 10.5, 45
SETTLED = 15


def told(text):
    return lambda kind, what, site: kind == "told" and text in what


def happened(action, role="release", new=True, type="container"):
    def matches(kind, what, site):
        if kind != "event" or what["Type"] != type or what["Action"] != action:
            return False
        if type != "container":
            return True
        labels = what["Actor"]["Attributes"]
        ours = labels.get("dev.slipway.app") == site.app and labels.get("dev.slipway.role") == role
        return ours and (what["Actor"]["ID"] not in site.before) == new
    return matches


def answered(kind, what, site):
    return kind == "answer" and what == site.next["version"]


def locked(kind, what, site):
    return happened("create", type="volume")(kind, what, site) and what["Actor"]["ID"].startswith(f"slipway-lock-{site.app}-")


# When each step begins: a line that the tool tells, an event of the engine, or the new release's first answer to a user.
STEPS = {
    "blue-green": {
        "connecting": told(": connecting"),
        "locked": locked,
        "pulling": told(": pulling "),
        "created": happened("create"),
        "proving": told(": proving the new container"),
        "reconfiguring": told(": changing the front's configuration"),
        "turning": told(": turning the front"),
        "turned": answered,
        "watching": told(": watching"),
        "letting go": happened("kill", new=False),
        "pruning": happened("destroy", new=False),
        "fronts": told("by the front"),
        "between fronts": happened("die", role="front", new=False),
    },
    "recreate": {
        "connecting": told(": connecting"),
        "locked": locked,
        "pulling": told(": pulling "),
        "candidate": happened("create", role="candidate"),
        "proving": told(": proving a candidate"),
        "created": happened("create"),
        "replacing": told(": replacing "),
        "stopping": happened("kill", new=False),
        "stopped": happened("die", new=False),
        "started": happened("start"),
        "answering": answered,
        "pruning": happened("destroy", new=False),
    },
}
# Where a connection that stays lost differs from one that comes back: what serves is being changed. Elsewhere the tool only
# tries for half a minute.
LOST = ("turned", "letting go", "between fronts", "stopping", "started", "pruning")
# Steps of a deploy whose options change the front, or replace it: only the latter closes the port.
RECONFIGURING = ("reconfiguring",)
FRONTS = ("fronts", "between fronts")


class Site:
    """An application on the server whose releases take turns."""

    def __init__(self, binary, strategy, port, releases, relay):
        self.binary, self.strategy, self.port, self.releases, self.relay = binary, strategy, port, releases, relay
        self.app = f"faults-{strategy}"
        self.options, self.drain, self.front = [], 20, 0
        self.live, self.before = None, frozenset()
        self.agent = server.Agent(port)

    @property
    def next(self):
        return self.releases[0 if self.live is None else (self.live + 1) % len(self.releases)]

    def ready(self):
        """Has a release serve, and one before it kept."""
        server.clear(self.app)
        self.live, self.front = None, 0
        for _ in range(2):
            begun, tool = time.monotonic(), self.deploy([])
            code = tool.wait(LIMIT)
            if code != 0:
                raise SystemExit(f"{self.strategy}: a deploy without a fault: exit {code}\n" + "".join(tool.told))
            stated = tool.document["deploy"]["hosts"][0].get("unserved_ms") or 0
            self.live = self.releases.index(self.next)
            if self.agent.first_after(time.monotonic(), lambda answer: True, SETTLED) != self.releases[self.live]["version"]:
                raise SystemExit(f"{self.strategy}: a deploy without a fault does not serve")
        return {"stated_s": stated / 1000, "gap_s": round(self.agent.longest_gap(begun, time.monotonic()), 2)}

    def vary(self, step):
        """The options with which a deploy comes to this step."""
        if step in RECONFIGURING:
            self.drain = 41 - self.drain
        self.options = []
        if self.strategy == "blue-green":
            self.options = ["--soak", "1s", "--drain-timeout", f"{self.drain}s"]
        if step in FRONTS:
            self.front = 1 - self.front
            self.options += ["--front-image", ["haproxy:3.2", "haproxy:faults"][self.front]]

    def deploy(self, more, relayed=False):
        return Deploy(self, more, relayed)


class Deploy:
    """remote-swap, under way."""

    def __init__(self, site, more, relayed, each=lambda line: None):
        place, known = os.environ["LAB_SSH"], os.environ["LAB_KNOWN_HOSTS"]
        if relayed:
            place, known = f"deployer@127.0.0.1:{site.relay.port}", site.relay.known_hosts
        command = [
            site.binary, "--host", place, "--identity", os.environ["LAB_SSH_KEY"], "--known-hosts", known,
            "--app", site.app, "--strategy", site.strategy, "--publish", f"{site.port}:8000", "--keep", str(KEEP),
            "--health-interval", "100ms", "--stop-timeout", "1s", "--env", "STUBBORN=1", "--env", "WARM_UP=0.5", *more]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self.told, self.printed, self.each, self.late = [], "", each, False
        self.readers = [threading.Thread(target=read, daemon=True) for read in (self.listen, self.take)]
        for one in self.readers:
            one.start()
        try:
            self.process.stdin.write(site.next["document"])
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def listen(self):
        for line in self.process.stderr:
            self.told.append(line)
            self.each(line)

    def take(self):
        self.printed = self.process.stdout.read()

    def wait(self, limit):
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.late = True
            self.process.kill()
            self.process.wait()
        for one in self.readers:
            one.join()
        return self.process.returncode

    @property
    def document(self):
        try:
            return json.loads(self.printed)
        except ValueError:
            return {}

    @property
    def outcome(self):
        hosts = self.document.get("deploy", {}).get("hosts") or [{}]
        return hosts[0].get("outcome")


class Watch:
    """Waits for a step to begin."""

    def __init__(self, site, matches):
        self.site, self.matches, self.reached = site, matches, threading.Event()

    def saw(self, kind, what):
        if not self.reached.is_set() and self.matches(kind, what, self.site):
            self.reached.set()
        return not self.reached.is_set()

    def wait(self, tool, limit):
        end = time.monotonic() + limit
        while not self.reached.wait(0.05):
            if tool.poll() is not None or time.monotonic() > end:
                return self.reached.is_set()
        return True


def run(site, step, fault, allowed):
    """What becomes of it. `allowed` is the longest time that users may be without a good answer, in seconds, beside that in which the lab
    starts the engine again."""
    agent, old, new = site.agent, site.releases[site.live]["version"], site.next["version"]
    site.vary(step)
    site.before = frozenset(one["Id"] for one in server.containers(site.app))
    watch = Watch(site, STEPS[site.strategy][step])
    since = time.time()
    threading.Thread(target=server.events, args=(since, lambda what: watch.saw("event", what)), daemon=True).start()
    begun = time.monotonic()
    agent.each = lambda asked, answer: asked >= begun and watch.saw("answer", answer)
    tool = Deploy(site, site.options, fault in server.RELAYED, lambda line: watch.saw("told", line))
    reached = watch.wait(tool.process, LIMIT)
    injected = time.monotonic()
    if reached:
        again_s = server.FAULTS[fault](tool.process, agent, site.relay)
        if fault in server.ENGINE:
            allowed += again_s
    code = tool.wait(LIMIT)
    ended = time.monotonic()
    agent.each = None
    site.relay.open()
    served = agent.first_after(ended, lambda answer: True, SETTLED)
    again = site.deploy(site.options)
    again_code = again.wait(LIMIT)
    serves = agent.first_after(time.monotonic(), lambda answer: True, SETTLED)
    time.sleep(0.1)
    end = time.monotonic()
    cell = {
        "strategy": site.strategy, "step": step, "fault": fault, "reached": reached, "exit": code, "outcome": tool.outcome,
        "ended_s": round(ended - injected, 2), "gap_s": round(agent.longest_gap(begun, end), 2), "allowed_s": round(allowed, 2),
        "failed": agent.failed(begun, end), "served": {old: "old", new: "new"}.get(served, served), "rerun_exit": again_code,
        "rerun_serves": {old: "old", new: "new"}.get(serves, serves), "rerun_outcome": again.outcome, "seconds": round(end - begun, 1),
    }
    cell["wrong"] = list(wrong(cell, tool, site))
    if cell["wrong"]:
        cell["told"], cell["rerun_told"] = "".join(tool.told), "".join(again.told)
    else:
        site.live = site.releases.index(site.next)
    return cell


def wrong(cell, tool, site):
    """What does not hold of all that has to."""
    fault = cell["fault"]
    if not cell["reached"]:
        yield "the deploy did not come to this step"
    if tool.late:
        yield f"the tool did not end within {LIMIT} s"
    if fault in server.SIGNALS and cell["ended_s"] > SIGNAL_LIMIT:
        yield f"it took {cell['ended_s']} s to end"
    if cell["gap_s"] > cell["allowed_s"]:
        yield f"no good answer for {cell['gap_s']} s"
    if site.strategy == "blue-green" and fault not in server.ENGINE and cell["step"] not in FRONTS and cell["failed"]:
        yield f"{cell['failed']} requests failed"
    if cell["served"] not in ("old", "new"):
        yield f"then {cell['served'] or 'nothing'} served"
    told = {"deployed": "new", "unchanged": "new", "failed": "old", "rolled_back": "old"}.get(cell["outcome"])
    if told and told != cell["served"]:
        yield f"it said {cell['outcome']}, and the {cell['served']} one served"
    if (cell["exit"] == 0) != (cell["outcome"] in ("deployed", "unchanged")):
        yield f"exit {cell['exit']} with the outcome {cell['outcome']}"
    if cell["rerun_exit"] != 0:
        yield f"the rerun: exit {cell['rerun_exit']}"
    if cell["rerun_serves"] != "new":
        yield f"after the rerun {cell['rerun_serves'] or 'nothing'} serves"
    yield from left_over(site)


def left_over(site):
    """What is not as after a deploy that nothing happened to."""
    fronts, up, down = [], [], []
    for one in server.containers(site.app):
        labels = one["Config"]["Labels"]
        role, status, policy = labels["dev.slipway.role"], one["State"]["Status"], one["HostConfig"]["RestartPolicy"]["Name"]
        kind = {("front", "running"): fronts, ("release", "running"): up, ("release", "exited"): down}.get((role, status))
        if kind is None:
            yield f"left over: a {role} that is {status}"
            continue
        kind.append(labels.get("dev.slipway.reference"))
        wanted = "no" if kind is down else "always"
        if policy != wanted:
            yield f"the {role} that is {status} has the restart policy {policy or 'no'}"
    wanted = 1 if site.strategy == "blue-green" else 0
    if len(fronts) != wanted:
        yield f"{len(fronts)} fronts"
    if up != [site.next["reference"]]:
        yield f"{len(up)} releases run" if len(up) != 1 else "another release runs"
    if down != [site.releases[site.live]["reference"]]:
        yield f"{len(down)} releases are kept" if len(down) != KEEP - 1 else "another release than the old one is kept"
    if locks := server.locks(site.app):
        yield f"{len(locks)} volumes of the lock"
    if len(names := server.images(site.app)) > KEEP:
        yield f"{len(names)} images"
