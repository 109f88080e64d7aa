"""What the scripts that compare Foveate with another engine have in common.

A comparison alternates, in one run, between `foveate bench ... --json` and a peer: a Python process
in an environment of its own that keeps its data and measures on request.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import venv

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def say(text):
    print(text, file=sys.stderr, flush=True)


def installed_version(python, package):
    """None without it. Builds of one version, such as 2.15.0+cpu, count as that version."""
    probe = f"import importlib.metadata as m; print(m.version('{package}'))"
    result = subprocess.run([python, "-c", probe], capture_output=True, text=True)
    return result.stdout.strip().split("+")[0] if result.returncode == 0 else None


def cache_folder():
    """<cache>/foveate: $XDG_CACHE_HOME, or ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    root = pathlib.Path(cache) if cache.startswith("/") else pathlib.Path.home() / ".cache"
    return root / "foveate"


def prepare_environment(package, version, install):
    """The Python of <cache>/foveate/bench-env; install(pip) puts the package there if need be."""
    folder = cache_folder() / "bench-env"
    python = folder / "bin" / "python"
    if python.exists() and installed_version(python, package) == version:
        return python
    say(f"installing {package} {version} in {folder} (some minutes)")
    if not python.exists():
        venv.create(folder, with_pip=True)
    install([python, "-m", "pip", "install", "--quiet"])
    return python


class Peer:
    """A process that prints one JSON value when it is ready and one for every line it reads."""

    def __init__(self, name, command):
        self.name = name
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.about = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, request=""):
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def bench_foveate(options, kind, arguments):
    """The report of `foveate bench KIND ARGUMENTS --json`."""
    command = [options.foveate, "bench", kind, *arguments, "--threads", str(options.threads)]
    command += ["--json", *options.foveate_options.split()]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        raise SystemExit(f"foveate bench ended with status {result.returncode}")
    return json.loads(result.stdout)


class Load:
    """How busy the machine is besides, at both ends of a run."""

    def __init__(self):
        self.before = os.getloadavg()[0]
        if self.before > 0.5:
            load = f"the load of this machine is {self.before:.1f}"
            say(f"warning: {load}: expect little of the figures")

    def report(self):
        return {"before": self.before, "after": os.getloadavg()[0]}


def print_load(load):
    print(f"load of the machine {load['before']:.1f} before, {load['after']:.1f} after")


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def spread(value, digits):
    low, high = (f"{value[key]:.{digits}f}" for key in ("min", "max"))
    return f"{value['median']:.{digits}f} ({low} to {high})"


def option_parser(description, rounds):
    """A parser with the options that every comparison takes."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--foveate", default=str(REPOSITORY / "build" / "release" / "foveate"))
    parser.add_argument("--foveate-options", default="", help="more options of foveate bench")
    parser.add_argument(
        "--rounds", type=int, default=rounds, help=f"counted rounds (default {rounds})"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser


def parse(parser):
    options = parser.parse_args()
    if not os.access(options.foveate, os.X_OK):
        parser.error(f"no program {options.foveate}: build it first or name it with --foveate")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options
