"""Builds of a large context: nothing changed, and one file changed.

    python3 build.py --bin BIN_DIR --work DIRECTORY --figures FILE [--files N] [--runs N]

Whole processes, from spawn to exit; each command twice to warm up, then RUNS times, and three times as often where a file changed: most
of that is the engine's writing to the disk, whose pace varies more than the clients differ. Those with BuildKit run in turn, in another order
each time, since what one has written may be in the next one's way; the much slower others run after them, five times at most. Medians
are what counts. Memory is the peak resident size as GNU time tells it: a process begins with the peak of the one that started it, so that
one has to be small.

imgbuild is measured twice: as it is, and without a place to remember its last result in, so that the engine's builder is asked each time.
Of docker every client is measured that is on the search path: with BuildKit, or, where a client lacks the plugin that it wants for that,
with the classic builder.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

NULL = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)]


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--figures", required=True)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=7)
    return parser.parse_args()


def context(directory, files):
    """A tree like that of a project with its dependencies: most files small, a few larger."""
    os.makedirs(directory)
    for n in range(files):
        place = os.path.join(directory, f"package{n % 100:03}", f"part{n % 7}")
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, f"file{n:05}.txt"), "w") as file:
            file.write(f"{n}\n" * (n % 300 + (20_000 if n % 1000 == 0 else 0)))
    with open(os.path.join(directory, "Dockerfile"), "w") as file:
        file.write("FROM scratch\nCOPY . /context/\n")


def clients():
    """Each docker client on the search path: its version, path and whether it builds with BuildKit."""
    seen = {}
    for directory in os.environ["PATH"].split(":"):
        path = os.path.realpath(os.path.join(directory, "docker"))
        if not os.access(path, os.X_OK) or path in seen:
            continue
        version = subprocess.run([path, "version", "--format", "{{.Client.Version}}"], capture_output=True, text=True)
        with tempfile.TemporaryDirectory() as empty:
            with open(os.path.join(empty, "Dockerfile"), "w") as file:
                file.write("FROM scratch\nLABEL probe=1\n")
            probe = subprocess.run([path, "build", "-q", empty], env={**os.environ, "DOCKER_BUILDKIT": "1"}, capture_output=True)
        seen[path] = (version.stdout.strip().split("+")[0], probe.returncode == 0)
    return seen


def commands(options, directory):
    """Those with BuildKit, and the others."""
    imgbuild = [f"{options.bin}/imgbuild", "--no-input", "-t", "bench:imgbuild", directory]
    found = {"imgbuild": (imgbuild, {"XDG_CACHE_HOME": f"{options.work}/cache"}),
             "imgbuild, nothing remembered": (imgbuild, {"XDG_CACHE_HOME": "/dev/null"})}
    others = {}
    for at, (path, (version, buildkit)) in enumerate(clients().items()):
        name = f"docker {version}" if buildkit else f"docker {version}, classic builder"
        (found if buildkit else others)[name] = ([path, "build", "-t", f"bench:docker{at}", directory], {"DOCKER_BUILDKIT": str(int(buildkit))})
    buildah = shutil.which("buildah")
    if buildah:
        storage = ["--root", f"{options.work}/buildah", "--runroot", f"{options.work}/buildah-run"]
        others["buildah"] = ([buildah, *storage, "bud", "--layers", "-t", "bench", directory], {})
    return found, others


def once(command, more):
    """Wall and CPU milliseconds of one run."""
    begun = time.perf_counter()
    pid = os.posix_spawn(command[0], command, {**os.environ, **more}, file_actions=NULL)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - begun
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command)} failed")
    return wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000


def peak(command, more):
    """Peak resident MiB of one run."""
    with tempfile.NamedTemporaryFile("r") as file:
        timed = ["/usr/bin/time", "-f", "%M", "-o", file.name, *command]
        subprocess.run(timed, env={**os.environ, **more}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=True)
        return int(file.read()) / 1024


def measure(tools, runs, before):
    """The commands in turn, so that a drift of the machine's speed is in all of them alike."""
    orders = random.Random(0)
    results = {name: [] for name in tools}
    peaks = {name: [] for name in tools}
    for _ in range(runs):
        for name, command in orders.sample(sorted(tools.items()), len(tools)):
            before()
            os.sync()
            results[name].append(once(*command))
    for _ in range(3):
        for name, command in tools.items():
            before()
            peaks[name].append(peak(*command))
    figures = {}
    for name, pairs in results.items():
        wall, cpu = zip(*pairs)
        figures[name] = {
            "wall_ms": round(statistics.median(wall), 1),
            "wall_ms_min": round(min(wall), 1),
            "wall_ms_max": round(max(wall), 1),
            "client_cpu_ms": round(statistics.median(cpu), 1),
            "peak_mib": round(statistics.median(peaks[name]), 1),
        }
    return figures


def main():
    options = arguments()
    directory = os.path.join(options.work, "context")
    context(directory, options.files)
    changes = iter(range(1_000_000))

    def change():
        with open(os.path.join(directory, "package001", "part1", "file00001.txt"), "w") as file:
            file.write(f"change {next(changes)}\n")

    figures = {"nothing changed": {}, "one file changed": {}}
    buildkit, others = commands(options, directory)
    for tools, runs, often in [(buildkit, options.runs, 3 * options.runs), (others, min(options.runs, 5), min(options.runs, 5))]:
        for command in tools.values():
            once(*command)
            once(*command)
        figures["nothing changed"].update(measure(tools, runs, lambda: None))
        figures["one file changed"].update(measure(tools, often, change))
    for title, rows in figures.items():
        ours = rows["imgbuild"]["wall_ms"]
        print(f"{title + f', {options.files} files':34} {'wall ms':>9} {'min':>8} {'max':>8} {'cpu ms':>8} {'MiB':>6} {'imgbuild is':>12}")
        for name, row in rows.items():
            row["imgbuild_times_faster"] = round(row["wall_ms"] / ours, 2)
            print(f"{name:34} {row['wall_ms']:9.1f} {row['wall_ms_min']:8.1f} {row['wall_ms_max']:8.1f} "
                  f"{row['client_cpu_ms']:8.1f} {row['peak_mib']:6.1f} {row['imgbuild_times_faster']:11.2f}x")
    with open(options.figures, "w") as file:
        json.dump({"files": options.files, "runs": options.runs, "figures": figures}, file, indent=2)
        file.write("\n")


main()
