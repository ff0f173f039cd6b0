"""Start times and memory of the tools, and ecrlogin beside the AWS CLI.

    python3 start.py BIN_DIR AWS FIGURES

Whole processes, from spawn to exit; each command once to warm up and then RUNS times, those that are compared in turn.
Medians are what counts. Memory is the peak resident size as GNU time tells it: a process begins with the peak of the one
that started it, so that one has to be small.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

BIN, AWS, FIGURES = sys.argv[1:]
RUNS = 21
TOOLS = ["imgbuild", "ecrlogin", "imgpush", "remote-swap", "healthwait"]
NULL = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)]


def once(command):
    """Wall and CPU milliseconds of one run."""
    begun = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=NULL)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - begun
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command)} failed")
    return wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000


def peak(command):
    """Peak resident MiB of one run."""
    with tempfile.NamedTemporaryFile("r") as file:
        timed = ["/usr/bin/time", "-f", "%M", "-o", file.name, *command]
        subprocess.run(timed, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        return int(file.read()) / 1024


def measure(commands):
    """The commands in turn, so that a drift of the machine's speed is in all of them."""
    for command in commands.values():
        once(command)
    runs = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            runs[name].append(once(command))
    figures = {}
    for name, results in runs.items():
        wall, cpu = zip(*results)
        figures[name] = {
            "wall_ms": round(statistics.median(wall), 2),
            "wall_ms_min": round(min(wall), 2),
            "wall_ms_max": round(max(wall), 2),
            "cpu_ms": round(statistics.median(cpu), 2),
            "peak_mib": round(statistics.median(peak(commands[name]) for _ in range(5)), 1),
        }
    return figures


figures = measure({f"{tool} --version": [f"{BIN}/{tool}", "--version"] for tool in TOOLS})
pair = measure({
    "ecrlogin": [f"{BIN}/ecrlogin", "--no-input"],
    "aws ecr get-login-password": [AWS, "ecr", "get-login-password", "--region", os.environ["AWS_REGION"]],
})
figures.update(pair)
ratio = pair["aws ecr get-login-password"]["wall_ms"] / pair["ecrlogin"]["wall_ms"]
for tool in TOOLS:
    figures[f"{tool} --version"]["binary_mib"] = round(os.path.getsize(f"{BIN}/{tool}") / 2**20, 1)
with open(FIGURES, "w") as file:
    json.dump({"runs": RUNS, "figures": figures, "ecrlogin_times_faster": round(ratio, 1)}, file, indent=2)
    file.write("\n")

print(f"{'':28} {'wall ms':>9} {'min':>8} {'max':>8} {'cpu ms':>8} {'MiB':>6}   medians of {RUNS}")
for name, row in figures.items():
    print(f"{name:28} {row['wall_ms']:9.2f} {row['wall_ms_min']:8.2f} {row['wall_ms_max']:8.2f} "
          f"{row['cpu_ms']:8.2f} {row['peak_mib']:6.1f}")
print(f"ecrlogin is {ratio:.1f} times as fast as aws ecr get-login-password")
