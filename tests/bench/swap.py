"""Swaps under load, over a lab whose addresses are in the environment; swap.sh starts one.

Two releases of server.py take turns while a mixed load goes on that repeats nothing. The same load without a swap, before it,
tells which gaps are this machine's own. Every figure that is compared is taken in the same run, in turn.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
LAB = HERE.parent / "lab/lab.sh"
APP, INSIDE, PORT, CLASSICAL_PORT = "bench", 8000, 8000, 8001
ENGINE = ["docker", "--host", os.environ["LAB_APP_DOCKER_HOST"]]

parser = argparse.ArgumentParser()
parser.add_argument("--bin", required=True, type=pathlib.Path)
parser.add_argument("--figures", required=True)
parser.add_argument("--strategy", default="blue-green")
parser.add_argument("--swaps", type=int, default=20)
parser.add_argument("--soak", default="5s", help="for blue-green")
parser.add_argument("--classical", type=int, default=5, help="swaps by docker stop, rm and run")
parser.add_argument("--quiet-seconds", type=float, default=60, help="of load without a swap")
parser.add_argument("--rounds", type=int, default=7, help="of what is measured in turn")
ARGS = parser.parse_args()

LOGIN = ["--host", os.environ["LAB_SSH"], "--identity", os.environ["LAB_SSH_KEY"], "--known-hosts", os.environ["LAB_KNOWN_HOSTS"]]


def say(text):
    print(f"swap: {text}", file=sys.stderr, flush=True)


def output(command, text=None):
    """What a command prints; the end of everything if it fails."""
    run = subprocess.run(command, input=text, stdin=None if text is not None else subprocess.DEVNULL, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {run.returncode}\n{run.stdout[-2000:]}\n{run.stderr}")
    return run.stdout


def engine(*arguments):
    return output([*ENGINE, *arguments]).strip()


def tool(name, *arguments, document=None):
    return output([ARGS.bin / name, *arguments], document)


def release(version):
    """Builds and pushes a release; answers the document with a login in it."""
    with tempfile.TemporaryDirectory() as directory:
        source = pathlib.Path(directory)
        shutil.copy(HERE / "server.py", source)
        (source / "version").write_text(version)
        (source / "Dockerfile").write_text('FROM python:3-slim\nCOPY server.py version /\nCMD ["python3", "-u", "/server.py"]\n')
        built = tool("imgbuild", "--no-input", "--tag", f"{APP}:{version}", directory)
    return tool("imgpush", document=tool("ecrlogin", "--ensure-repository", document=built))


class Load:
    """The mixed load, until it is told to end."""

    def __init__(self, port):
        self.begun, self.lasted = time.monotonic(), None
        self.process = subprocess.Popen(
            [ARGS.bin / "load", f"{os.environ['LAB_APP_ADDR']}:{port}", "--echo"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def report(self):
        self.lasted = time.monotonic() - self.begun
        self.process.stdin.close()
        report = json.loads(self.process.stdout.read())
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.returncode != 0:
            sys.exit("the load failed")
        report["cpu_share"] = round((usage.ru_utime + usage.ru_stime) / self.lasted, 3)
        return report


def swap(pushed):
    """One deploy: what the tool says of it, and what it costs."""
    command = [ARGS.bin / "remote-swap", *LOGIN, "--app", APP, "--strategy", ARGS.strategy, "--publish", f"{PORT}:{INSIDE}"]
    if ARGS.strategy == "blue-green":
        command += ["--soak", ARGS.soak]
    # The token is an hour old at most; a login at each step is what a pipeline has.
    document = tool("ecrlogin", document=pushed)
    with tempfile.NamedTemporaryFile("r") as peak, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as told:
        # A process begins with the peak of the one that started it, so a small one stands between.
        timed = ["/usr/bin/time", "--quiet", "-f", "%M", "-o", peak.name, *command]
        begun = time.monotonic()
        process = subprocess.Popen(timed, stdin=subprocess.PIPE, stdout=out, stderr=told, text=True)
        process.stdin.write(document)
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), told.seek(0)
        told = told.read()
        if process.returncode != 0:
            sys.exit(f"remote-swap: exit {process.returncode}\n{told}")
        host = json.loads(out.read())["deploy"]["hosts"][0]
        peak = int(peak.read().split()[-1])
    if host["outcome"] != "deployed":
        sys.exit(f"remote-swap: {host['outcome']}\n{told}")
    others = [host.get(key) or 0 for key in ("pull_ms", "start_ms", "drain_ms")]
    return {
        "wall_ms": round(wall * 1000),
        "swap_ms": host["swap_ms"],
        "own_ms": host["swap_ms"] - sum(others),
        "pull_ms": others[0],
        "start_ms": others[1],
        "drain_ms": others[2],
        "unserved_ms": host.get("unserved_ms") or 0,
        "peak_mib": round(peak / 1024, 1),
        "cpu_ms": round((usage.ru_utime + usage.ru_stime) * 1000),
    }


def classical(image):
    """The way of a shell script."""
    begun = time.monotonic()
    engine("stop", "classical")
    engine("rm", "classical")
    engine("run", "--detach", "--name", "classical", "--publish", f"{CLASSICAL_PORT}:{INSIDE}", image)
    return {"wall_ms": round((time.monotonic() - begun) * 1000)}


def under_load(port, count, one_swap, meanwhile=lambda: None):
    """The load's report, and what each swap in it said. A little of the load is before the first one and after the last."""
    load = Load(port)
    time.sleep(3)
    swaps = []
    for number in range(count):
        swaps.append(one_swap(number))
        say(f"{number + 1} of {count}: {swaps[-1]['wall_ms']} ms")
        time.sleep(1)
    extra = meanwhile()
    time.sleep(3)
    return load.report(), swaps, extra


def app_containers():
    """The running containers of the application: the front's id, or none, and those of the others."""
    ids = engine("ps", "--quiet", "--no-trunc", "--filter", f"label=dev.slipway.app={APP}").split()
    listed = json.loads(engine("inspect", *ids))
    fronts = [one["Id"] for one in listed if one["Config"]["Labels"].get("dev.slipway.role") == "front"]
    return (fronts or [None])[0], [one for one in listed if one["Id"] not in fronts]


def front_memory():
    front, _ = app_containers()
    if front is None:
        return None
    usage = engine("stats", "--no-stream", "--format", "{{.MemUsage}}", front).split(" ")[0]
    number, unit = re.fullmatch(r"([\d.]+)([KMG]?i?B)", usage).groups()
    return round(float(number) * {"B": 2**-20, "KiB": 2**-10, "MiB": 1, "GiB": 2**10}[unit], 1)


def throughput():
    """Requests a second at 32 persistent connections, from the server itself: to the application and to the front.

    Of answers that cost next to nothing, where the front's own work is the most of all, and of such as an application makes.
    """
    front, others = app_containers()
    if front is None:
        return None
    live = max(others, key=lambda one: one["State"]["StartedAt"])
    inside = next(network["IPAddress"] for network in live["NetworkSettings"]["Networks"].values() if network["IPAddress"])
    places = {"direct": f"http://{inside}:{INSIDE}", "front": f"http://{os.environ['LAB_APP_ADDR']}:{PORT}"}
    return {name: kept(places, path) for name, path in [("answers of 1 ms of work", "/work?ms=1"), ("answers of no work", "/")]}


def kept(places, path):
    rates = {name: [] for name in places}
    for _ in range(ARGS.rounds):
        for name, place in places.items():
            wrk = ["wrk", "-t1", "-c32", "-d3s", place + path]
            told = output(["bash", LAB, "enter", "app", "--dir", os.environ["LAB_DIR"], "--", *wrk])
            if "Socket errors" in told or "Non-2xx" in told:
                sys.exit(f"wrk: {told}")
            rates[name].append(float(re.search(r"Requests/sec:\s+([\d.]+)", told)[1]))
    medians = {name: round(statistics.median(each)) for name, each in rates.items()}
    return {**medians, "kept": round(medians["front"] / medians["direct"], 3)}


def first_answer():
    """Milliseconds to connect, log in and ask the engine: remote-swap status, and ssh with docker version."""
    key, known = os.environ["LAB_SSH_KEY"], os.environ["LAB_KNOWN_HOSTS"]
    commands = {
        "remote-swap status": [ARGS.bin / "remote-swap", "status", "--no-input", *LOGIN, "--app", APP],
        "ssh docker version": ["ssh", "-F", "none", "-n", "-i", key, "-o", "BatchMode=yes", "-o", f'UserKnownHostsFile="{known}"',
                               os.environ["LAB_SSH"], "docker", "version"],
    }
    trial = subprocess.run(commands["remote-swap status"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if trial.returncode != 0:
        say(f"remote-swap status cannot be measured: {trial.stderr.strip()}")
        return None
    walls = {name: [] for name in commands}
    for _ in range(ARGS.rounds):
        for name, command in commands.items():
            begun = time.monotonic()
            output(command)
            walls[name].append((time.monotonic() - begun) * 1000)
    medians = {name: round(statistics.median(each), 1) for name, each in walls.items()}
    return {**medians, "ratio": round(medians["remote-swap status"] / medians["ssh docker version"], 2)}


def main():
    releases = [release("one"), release("two")]
    images = [json.loads(document)["push"]["reference"] for document in releases]
    say(f"deploying by {ARGS.strategy}")
    swap(releases[0])
    # The second brings the other image to the server, so that no pull is in the figures.
    swap(releases[1])
    say(f"{ARGS.quiet_seconds:.0f} s of load without a swap")
    load = Load(PORT)
    time.sleep(ARGS.quiet_seconds)
    quiet = load.report()
    say(f"{ARGS.swaps} swaps under load")
    swapping, swaps, front_mib = under_load(PORT, ARGS.swaps, lambda number: swap(releases[number % 2]), front_memory)
    figures = {
        "strategy": ARGS.strategy,
        "quiet": quiet,
        "swapping": swapping,
        "swaps": swaps,
        "front_mib": front_mib,
        "throughput": throughput(),
        "first_answer": first_answer(),
    }
    if ARGS.classical:
        say(f"{ARGS.classical} swaps by docker stop, rm and run under load")
        engine("run", "--detach", "--name", "classical", "--publish", f"{CLASSICAL_PORT}:{INSIDE}", images[0])
        report, runs, _ = under_load(CLASSICAL_PORT, ARGS.classical, lambda number: classical(images[1 - number % 2]))
        figures["classical"] = {"load": report, "swaps": runs}
    with open(ARGS.figures, "w", encoding="utf-8") as file:
        json.dump(figures, file, indent=2)
        file.write("\n")
    table(figures)


def table(figures):
    rows = [("the same load, no swap", figures["quiet"], 0), (f"{figures['strategy']}", figures["swapping"], len(figures["swaps"]))]
    if "classical" in figures:
        rows.append(("docker stop, rm, run", figures["classical"]["load"], len(figures["classical"]["swaps"])))
    print(f"{'':24} {'swaps':>6} {'requests':>9} {'failed':>7} {'gap ms':>8} {'p99 ms new':>11} {'get':>7} {'post':>7}  load's CPU")
    for name, report, count in rows:
        p99 = [report["classes"][one]["latency_ms"]["p99"] or 0 for one in ("new_connection", "keep_alive_get", "keep_alive_post")]
        gap = report["longest_gap"]["ms"] if report["longest_gap"] else 0
        print(f"{name:24} {count:6} {report['requests']:9} {report['failed']:7} {gap:8.1f} {p99[0]:11.1f} {p99[1]:7.1f} {p99[2]:7.1f}"
              f"  {report['cpu_share']:.0%}")
    for key, unit in [("own_ms", "ms, all but pull, start, soak and drain"), ("swap_ms", "ms in all"), ("peak_mib", "MiB"), ("cpu_ms", "ms of CPU")]:
        each = [one[key] for one in figures["swaps"]]
        print(f"remote-swap {key:12} median {statistics.median(each):8.1f}  max {max(each):8.1f}  {unit}")
    if figures["front_mib"] is not None:
        print(f"front                    {figures['front_mib']:.1f} MiB")
    for name, rates in (figures["throughput"] or {}).items():
        print(f"requests a second at 32 connections, {name}: {rates['direct']} direct, {rates['front']} by the front, {rates['kept']:.2f} kept")
    if figures["first_answer"]:
        print("first answer: " + ", ".join(f"{name} {value}" for name, value in figures["first_answer"].items()))


main()
