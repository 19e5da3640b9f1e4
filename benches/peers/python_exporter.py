"""An exporter of exit codes as it is usually written in Python: what `benches/peers/run` compares with.

It lists the stopped containers by Docker's SDK at each interval and sets a gauge for each of them.
"""

import logging
import os
import time

import docker
import requests
from prometheus_client import Gauge, Summary, start_http_server

DOCKER_LABELS = [
    "com.docker.compose.config-hash",
    "com.docker.compose.container-number",
    "com.docker.compose.oneoff",
    "com.docker.compose.project",
    "com.docker.compose.project.config_files",
    "com.docker.compose.project.working_dir",
    "com.docker.compose.service",
    "com.docker.compose.version",
]


def metric_label(key):
    return "container_label_" + key.replace(".", "_").replace("-", "_")


EXIT_CODE = Gauge(
    "container_exit_code",
    "Exit code of a stopped container.",
    ["id", "name", "image", *map(metric_label, DOCKER_LABELS)],
)
COLLECTION = Summary("exporter_collection_seconds", "Time that a collection took.")


@COLLECTION.time()
def collect(client):
    # The SDK lists, and then inspects each container by itself; `attrs` is what that gave.
    stopped = client.containers.list(all=True, filters={"status": ["exited", "dead"]}, ignore_removed=True)
    EXIT_CODE.clear()
    for container in stopped:
        config = container.attrs["Config"]
        labels = config["Labels"] or {}
        EXIT_CODE.labels(
            f"/docker/{container.id}",
            container.name,
            config["Image"],
            *(labels.get(key, "") for key in DOCKER_LABELS),
        ).set(container.attrs["State"]["ExitCode"])


def main():
    interval = float(os.environ.get("COLLECTION_INTERVAL", "15"))
    client = docker.from_env()
    start_http_server(
        int(os.environ.get("EXPORTER_PORT", "9090")),
        os.environ.get("EXPORTER_ADDRESS", "0.0.0.0"),
    )
    while True:
        try:
            collect(client)
        except (docker.errors.DockerException, requests.RequestException):
            logging.exception("the containers could not be read")
        time.sleep(interval)


if __name__ == "__main__":
    main()
