"""Measures both exporters on one Engine; `benches/peers/run` starts that, calls this, and cleans up.

usage: measure.py FOLDER DOCKERD_PID EXPORTER
"""

import json
import math
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import docker
import requests

CONTAINERS = 300
INTERVAL = 5  # Seconds between collections, of both.
WINDOW = 10 * INTERVAL  # Seconds for which CPU is measured.
LOGGED = 2 * INTERVAL  # Seconds for which requests are counted.
EXITS = 20  # Of each kind.
EXIT_PAUSE = INTERVAL / 10  # Seconds between two of a kind, so that they end at any point between collections.
SCRAPE_PAUSE = 0.05  # Seconds between scrapes while exits are waited for.
IMAGE = "docker-exit-exporter-peers-busybox"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # By no proxy.
EXIT_NAME = re.compile(r'^container_exit_code\{.*?\bname="((?:kept|gone)-\d+)"', re.MULTILINE)


def say(text):
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", file=sys.stderr, flush=True)


def eventually(what, patience, probe):
    """Returns the first truthy result of `probe`."""
    deadline = time.monotonic() + patience
    while not (result := probe()):
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {patience} s")
        time.sleep(0.1)
    return result


def cpu(pid):
    """CPU seconds of a process, with its threads that ended: the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime((~pid << 3) | 2)


def unix_time(text):
    """Of a time as Docker writes it: UTC, with up to nine digits of a second, which datetime does not take."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(seconds + "+00:00").timestamp() + float(f"0.{fraction or 0}")


class Engine:
    def __init__(self, folder, pid):
        self.folder = folder
        self.pids = [pid]
        self.url = f"unix://{folder}/docker.sock"
        self.exporters_log = open(folder / "exporters.log", "ab")
        eventually("no Docker Engine", 60, self.answers)
        self.client = docker.DockerClient(self.url)
        # There is none if the host's own is used: then its CPU cannot be told from other work.
        own_containerd = folder / "exec/containerd/containerd.pid"
        if own_containerd.exists():
            self.pids.append(int(own_containerd.read_text()))
        self.client.api.import_image_from_file(str(folder / "image.tar"), repository=IMAGE)

    def answers(self):
        try:
            return docker.DockerClient(self.url).ping()
        except (docker.errors.DockerException, requests.RequestException):
            return False

    def cpu(self):
        return sum(map(cpu, self.pids))

    def run(self, name, number, command, **options):
        """Runs a container in the background with the labels of a Compose service."""
        labels = {
            "config-hash": f"{number:064x}",
            "container-number": "1",
            "oneoff": "False",
            "project": f"project-{number // 10}",
            "project.config_files": f"/srv/project-{number // 10}/docker-compose.yml",
            "project.working_dir": f"/srv/project-{number // 10}",
            "service": name,
            "version": "2.29.7",
        }
        return self.client.containers.run(
            IMAGE,
            ["sh", "-c", command],
            name=name,
            labels={f"com.docker.compose.{key}": value for key, value in labels.items()},
            network_mode="none",
            detach=True,
            **options,
        )

    def running(self):
        return self.client.api.containers(quiet=True)

    def fill(self):
        with ThreadPoolExecutor(2) as pool:
            for _ in pool.map(lambda n: self.run(f"stopped-{n}", n, f"exit {n % 3}"), range(CONTAINERS)):
                pass
        eventually("containers do not end", 30, lambda: not self.running())

    def log_requests(self, on):
        """Switches the debug log on or off: it has a line for each request."""
        (self.folder / "daemon.json").write_text(json.dumps({"debug": on}))
        size = len(self.log())
        os.kill(self.pids[0], signal.SIGHUP)
        eventually("no reload", 10, lambda: b"Reloaded configuration" in self.log()[size:])

    def log(self):
        return (self.folder / "dockerd.log").read_bytes()

    def requests(self):
        return len(re.findall(rb"Calling [A-Z]+ /", self.log()))


class Exporter:
    """One that runs, until the end of the `with`."""

    def __init__(self, engine, command, collections):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/metrics"
        self.counter = re.compile(rf"^{collections}(?:\{{.*\}})? (\S+)$", re.MULTILINE)
        self.process = subprocess.Popen(
            command,
            env={
                "PATH": os.environ["PATH"],
                "DOCKER_HOST": engine.url,
                "COLLECTION_INTERVAL": str(INTERVAL),
                "EXPORTER_ADDRESS": "127.0.0.1",
                "EXPORTER_PORT": str(port),
            },
            stdin=subprocess.DEVNULL,
            stdout=engine.exporters_log,
            stderr=engine.exporters_log,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def scrape(self):
        try:
            with DIRECT.open(self.url, timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            if self.process.poll() is not None:
                sys.exit(f"{self.process.args} ended")
            return ""

    def collections(self):
        return sum(map(float, self.counter.findall(self.scrape())))

    def cpu(self):
        return cpu(self.process.pid)

    def between_collections(self):
        """Waits until it has used no more than 1 % of a core for a while."""

        def idle():
            before = self.cpu()
            time.sleep(0.3)
            return self.cpu() - before < 0.003

        eventually("it never rests", 10 * INTERVAL, idle)

    def memory(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


def measure_cpu(engine, exporter, idle_rate):
    """CPU seconds of exporter and daemon per collection. There is no scrape in the window, but one before and after."""
    done = exporter.collections()
    exporter.between_collections()
    start, own, daemon = time.monotonic(), exporter.cpu(), engine.cpu()
    time.sleep(WINDOW)
    exporter.between_collections()
    seconds = time.monotonic() - start
    own, daemon = exporter.cpu() - own, engine.cpu() - daemon
    done = exporter.collections() - done
    say(f"{done:.0f} collections in {seconds:.1f} s")
    return own / done, (daemon - idle_rate * seconds) / done


def measure_requests(engine, exporter):
    engine.log_requests(True)
    exporter.between_collections()
    done, count = exporter.collections(), engine.requests()
    time.sleep(LOGGED)
    exporter.between_collections()
    done, count = exporter.collections() - done, engine.requests() - count
    engine.log_requests(False)
    say(f"{count} requests in {done:.0f} collections")
    return count / done


def measure_exits(engine, exporter):
    """The delays until exits were shown, in seconds, and of how many `--rm` containers they were shown."""
    shown = {}
    over = threading.Event()

    def watch():
        while not over.wait(SCRAPE_PAUSE):
            for name in EXIT_NAME.findall(exporter.scrape()):
                shown.setdefault(name, time.time())

    say(f"starts {EXITS} containers that stay, and {EXITS} with --rm")
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        kept = []
        for n in range(EXITS):
            kept.append(engine.run(f"kept-{n}", CONTAINERS + n, "sleep 0.3; exit 3"))
            engine.run(f"gone-{n}", CONTAINERS + EXITS + n, "sleep 0.3; exit 4", auto_remove=True)
            time.sleep(EXIT_PAUSE)
        eventually("containers do not end", 30, lambda: not engine.running())
        # Two collections more, however long one takes, or all that can be shown.
        done = exporter.collections()
        eventually(
            "no collections",
            10 * INTERVAL,
            lambda: len(shown) == 2 * EXITS or exporter.collections() >= done + 2,
        )
        time.sleep(10 * SCRAPE_PAUSE)
    finally:
        over.set()
        watcher.join()
    delays = []
    for container in kept:
        container.reload()
        if container.name in shown:
            delays.append(shown[container.name] - unix_time(container.attrs["State"]["FinishedAt"]))
        container.remove()
    return delays, sum(name.startswith("gone-") for name in shown)


def measure(engine, idle_rate, command, collections):
    with Exporter(engine, command, collections) as exporter:
        eventually("no collection", 60, lambda: exporter.collections() >= 1)
        own, daemon = measure_cpu(engine, exporter, idle_rate)
        asked = measure_requests(engine, exporter)
        delays, gone = measure_exits(engine, exporter)
        say(f"{len(delays)} of {EXITS} exits shown, and {gone} of {EXITS} with --rm")
        delays_or_none = delays or [math.nan]
        return {
            "own": own * 1000,
            "daemon": daemon * 1000,
            "memory": exporter.memory(),
            "requests": asked,
            "median": statistics.median(delays_or_none),
            "max": max(delays_or_none),
            "lost": EXITS - len(delays),
            "lost_rm": EXITS - gone,
        }


def table(ours, python, daemon):
    def row(what, key, form):
        ratio = f"{python[key] / ours[key]:.3g}" if ours[key] > 0 and "lost" not in key else "–"
        return f"| {what} | {ours[key]:{form}} | {python[key]:{form}} | {ratio} |"

    print("| | this exporter | Python | ratio |")
    print("| --- | ---: | ---: | ---: |")
    print(row("CPU of the exporter per collection, ms", "own", ".2f"))
    print(row(f"CPU of {daemon} per collection, ms", "daemon", ".1f"))
    print(row("resident memory, MiB", "memory", ".1f"))
    print(row("requests to Docker per collection", "requests", "g"))
    print(row("from an exit to the scrape that shows it, median, s", "median", ".2f"))
    print(row("the same, maximum, s", "max", ".2f"))
    print(row(f"exits not shown, of {EXITS} containers that stay", "lost", "d"))
    print(row(f"exits not shown, of {EXITS} with `--rm`", "lost_rm", "d"))


def main():
    folder, daemon, program = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    engine = Engine(folder, daemon)
    say(f"starts {CONTAINERS} containers")
    engine.fill()
    time.sleep(INTERVAL)
    say(f"measures the idle daemon for {WINDOW} s")
    idle = engine.cpu()
    time.sleep(WINDOW)
    idle_rate = (engine.cpu() - idle) / WINDOW
    say(f"{idle_rate * 1000:.2f} ms of CPU per second")

    say("this exporter")
    ours = measure(engine, idle_rate, [program], "docker_exit_exporter_collections_total")
    say("the Python exporter")
    script = Path(__file__).with_name("python_exporter.py")
    python = measure(engine, idle_rate, [sys.executable, str(script)], "exporter_collection_seconds_count")
    say("done")

    own_version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    print(
        f"{CONTAINERS} stopped containers with 8 labels, a collection each {INTERVAL} s, exits awaited by a scrape "
        f"each {SCRAPE_PAUSE} s, {os.cpu_count()} cores: "
        f"{own_version.stdout.strip()}; Python {python_version()}, docker {version('docker')}, "
        f"prometheus_client {version('prometheus_client')}; Docker {engine.client.version()['Version']}, which took "
        f"{idle_rate * 1000:.2f} ms of CPU per second while idle (subtracted)\n"
    )
    table(ours, python, "dockerd and containerd" if len(engine.pids) == 2 else "dockerd")


if __name__ == "__main__":
    STARTED = time.monotonic()
    # So that an exporter that runs is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    main()
