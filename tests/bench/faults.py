"""The fault suite, over a lab whose addresses are in the environment; faults.sh starts one.

For each strategy a deploy is struck at each of its steps by each fault, and made again. Users have to be served all the time,
the tool has to say what is true, and the rerun has to leave exactly what a deploy without a fault leaves.
"""

import argparse
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "faults"))

import cell  # noqa: E402
import server  # noqa: E402

# Those that are likeliest to break something: around the moments at which what serves changes.
QUICK = [
    ("blue-green", "created", "kill"), ("blue-green", "turning", "kill"), ("blue-green", "turned", "crash"),
    ("blue-green", "watching", "TERM"), ("blue-green", "letting go", "cut"), ("recreate", "stopping", "kill"),
    ("recreate", "stopping", "lost"), ("recreate", "started", "engine"),
]
PORTS = {"blue-green": 8170, "recreate": 8171}
# Seconds between two answers while nothing happens to users, and how much longer than in the control a busy machine may take.
SMOOTH, SLACK = 1, 2

parser = argparse.ArgumentParser()
parser.add_argument("--bin", required=True, type=pathlib.Path)
parser.add_argument("--figures", required=True)
parser.add_argument("--quick", action="store_true", help="a few cells only")
parser.add_argument("--only", action="append", default=[], metavar="STRATEGY[/STEP[/FAULT]]")
ARGS = parser.parse_args()


def say(text):
    print(f"faults: {text}", file=sys.stderr, flush=True)


def output(command, text=None):
    run = subprocess.run(command, input=text, stdin=None if text is not None else subprocess.DEVNULL, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {run.returncode}\n{run.stderr}")
    return run.stdout


def release(app, version):
    """Builds and pushes a release that takes a moment to be pulled."""
    with tempfile.TemporaryDirectory() as directory:
        source = pathlib.Path(directory)
        shutil.copy(HERE.parent / "tests/swap/server.py", source)
        (source / "version").write_text(version)
        (source / "Dockerfile").write_text(
            "FROM python:3-slim\nCOPY server.py version /\n"
            f"RUN head -c 8000000 /dev/urandom >/{version}\nCMD [\"python3\", \"/server.py\"]\n")
        built = output([ARGS.bin / "imgbuild", "--no-input", "--tag", f"{app}:{version}", directory])
    document = output([ARGS.bin / "imgpush"], output([ARGS.bin / "ecrlogin", "--ensure-repository"], built))
    return {"version": version, "document": document, "reference": json.loads(document)["push"]["reference"]}


def chosen(strategy):
    cells = [(strategy, step, fault) for step in cell.STEPS[strategy] for fault in server.FAULTS
             if fault != "lost" or step in cell.LOST]
    if ARGS.quick:
        cells = [one for one in cells if one in QUICK]
    if ARGS.only:
        cells = [one for one in cells if any("/".join(one).startswith(only) for only in ARGS.only)]
    return cells


def control(site):
    """The gaps without a deploy, or without a fault."""
    figures = {"deploy": site.ready()}
    for fault in server.ENGINE:
        begun = time.monotonic()
        again_s = server.FAULTS[fault](None, site.agent, None)
        site.agent.first_after(time.monotonic(), lambda answer: True, cell.SETTLED)
        time.sleep(0.2)
        gap = site.agent.longest_gap(begun, time.monotonic())
        figures[fault] = {"gap_s": round(gap, 2), "own_s": round(max(0, gap - again_s), 2)}
    if site.strategy == "blue-green":
        site.vary(cell.FRONTS[0])
        begun = time.monotonic()
        tool = site.deploy(site.options)
        if tool.wait(cell.LIMIT) != 0:
            sys.exit("".join(tool.told))
        site.live = site.releases.index(site.next)
        figures["fronts"] = {"gap_s": round(site.agent.longest_gap(begun, time.monotonic()), 2)}
    return figures


def allowed(site, figures, step, fault):
    """How long users may be without a good answer: what the swap itself costs, and what a restart of the engine
    costs beside the start of its process."""
    gap = SMOOTH
    if site.strategy == "recreate":
        gap = 2 * figures["deploy"]["gap_s"] + SLACK
    elif step in cell.FRONTS:
        gap = 2 * figures["fronts"]["gap_s"] + SLACK
    if fault in server.ENGINE:
        gap += 1.5 * figures[fault]["own_s"] + SLACK
    return gap


def strategy(name, relay, cells, figures):
    """Fills in the figures as they come: also those of a run that is broken off are there."""
    site = cell.Site(ARGS.bin / "remote-swap", name, PORTS[name], [], relay)
    try:
        site.releases = [release(site.app, version) for version in ("one", "two", "three")]
        controls = figures["control"] = control(site)
        say(f"{name}, without a fault or without a deploy: " + ", ".join(f"{what} {one['gap_s']} s" for what, one in controls.items()))
        for number, (_, step, fault) in enumerate(cells, 1):
            one = cell.run(site, step, fault, allowed(site, controls, step, fault))
            figures["cells"].append(one)
            text = "; ".join(one["wrong"]) or "ok"
            say(f"{name} {number}/{len(cells)}: {step}, {fault}: {text} ({one['served']} served, {one['gap_s']} s, all in {one['seconds']} s)")
            if one["wrong"]:
                print(one["told"] + "then:\n" + one["rerun_told"], file=sys.stderr, flush=True)
                server.lab("up")
                site.ready()
    finally:
        site.agent.close()
        server.lab("up")
        server.clear(site.app)


def table(name, figures, cells):
    """A row a step, a column a fault: which release served after it, and the longest time without a good answer."""
    notes = []
    print(f"\n{name}: what served after the fault, and the longest time in seconds without a good answer")
    print(f"{'':16}" + "".join(f"{fault:>12}" for fault in server.FAULTS))
    for step in cell.STEPS[name]:
        row = {one["fault"]: one for one in cells if one["step"] == step}
        if not row:
            continue
        texts = []
        for fault in server.FAULTS:
            one = row.get(fault)
            text = f"{one['served'] or '-'} {one['gap_s']:.2f}" if one else ""
            if one and one["wrong"]:
                notes.append(f"{step}, {fault}: {'; '.join(one['wrong'])}")
                text = f"[{len(notes)}] {text}"
            texts.append(f"{text:>12}")
        print(f"{step:16}" + "".join(texts))
    print("without a deploy or a fault: " + ", ".join(f"{what} {one['gap_s']} s" for what, one in figures.items()))
    for number, note in enumerate(notes, 1):
        print(f"[{number}] {note}")


def main():
    # So that what has to be put right is.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    done = {}
    server.engine("POST", "/images/haproxy:3.2/tag", repo="haproxy", tag="faults")
    with tempfile.TemporaryDirectory() as directory:
        relay = server.Relay(pathlib.Path(directory))
        try:
            for name in cell.STEPS:
                if cells := chosen(name):
                    done[name] = {"control": {}, "cells": []}
                    strategy(name, relay, cells, done[name])
        finally:
            with open(ARGS.figures, "w", encoding="utf-8") as file:
                json.dump(done, file, indent=2)
                file.write("\n")
            server.engine("DELETE", "/images/haproxy:faults")
    for name, one in done.items():
        table(name, one["control"], one["cells"])
    cells = [one for each in done.values() for one in each["cells"]]
    bad = sum(bool(one["wrong"]) for one in cells)
    print(f"\n{len(cells)} cells, {bad} of them wrong")
    sys.exit(1 if bad or not cells else 0)


main()
