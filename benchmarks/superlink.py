"""Exchanges over Flower's own SuperLink and SuperNodes, as they are shipped.

Stock: a TLS server, no authentication of SuperNodes, state in memory, default intervals (a SuperNode asks for mail every
3 s, its SuperExec for work every second, the ServerApp for replies every 3 s), a new process a message. Two switches are
set because the machine is offline: no telemetry or update check, and the app's dependencies are not installed at run time.
All exchanges are in one run; the first, in which nodes fetch and install the app, is the warm-up.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from benchmarks.measured import Failed, Measured, Say
from benchmarks.process_tree import BOUND_TO_US, adopt_orphans, cpu_seconds, end_descendants
from deploy.local import free_ports

APP = Path(__file__).parent / "superlink_app"
REPOSITORY = Path(__file__).parents[1]
PROGRAMS = Path(sysconfig.get_path("scripts"))
WARM_UP = 1
START_SECONDS = 60.0
PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.02
SHOWN_LINES = 15


def measure(root: Path, *, nodes: int, exchanges: int, payload_bytes: int, say: Say) -> Measured:
    """Return ``exchanges`` exchanges with ``nodes`` SuperNodes; ``root`` must be new and empty. Raises: Failed."""
    missing = [name for name in ("flower-superlink", "flower-supernode", "flwr") if not (PROGRAMS / name).exists()]
    if missing:
        raise Failed(f"{', '.join(missing)} not found in {PROGRAMS}: flwr is not installed with its commands")
    adopt_orphans()
    try:
        return _SuperLink(root, nodes, say).run(exchanges, payload_bytes)
    finally:
        end_descendants()


class _SuperLink:
    """A SuperLink, its SuperNodes, and one run."""

    def __init__(self, root: Path, nodes: int, say: Say) -> None:
        self._root, self._nodes, self._say = root, nodes, say
        self._certificate, self._key = _self_signed(root)
        self._times = root / "times"
        port, *node_ports = free_ports(1 + nodes)
        self._address = f"127.0.0.1:{port}"
        certificate, key = str(self._certificate), str(self._key)
        tls = ["--ssl-certfile", certificate, "--ssl-keyfile", key, "--ssl-ca-certfile", certificate]
        offline = "--disable-runtime-dependency-installation"
        listen = ["--host", "127.0.0.1", "--port", str(port)]
        self._superlink = self._start("superlink", "flower-superlink", *listen, *tls, offline)
        self._wait_until_listening(port)
        for number, node_port in enumerate(node_ports, 1):
            dial = ["--superlink", self._address, "--root-certificates", certificate, "--port", str(node_port)]
            self._start(f"supernode-{number}", "flower-supernode", *dial)

    def _environment(self, name: str) -> dict[str, str]:
        """Return the environment of one party, which keeps what it installs in a folder of its own."""
        home = self._root / f"home-{name}"
        home.mkdir(exist_ok=True)
        own = {"FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
        return os.environ | own | {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ.get('PATH', '')}"}

    def _log(self, name: str) -> Path:
        return self._root / f"{name}.log"

    def _start(self, name: str, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log(name).open("wb") as log:
            return subprocess.Popen(
                [*BOUND_TO_US, str(PROGRAMS / program), *arguments],
                cwd=REPOSITORY,
                env=self._environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _failed(self, what: str) -> Failed:
        lines = self._log("superlink").read_text(errors="replace").splitlines()[-SHOWN_LINES:]
        return Failed("\n".join([what, "the SuperLink's last words:", *lines]))

    def _wait_until_listening(self, port: int) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if time.monotonic() > end or self._superlink.poll() is not None:
                raise self._failed(f"the SuperLink does not listen after {START_SECONDS:.0f} s, or has ended")
            time.sleep(0.2)

    def run(self, exchanges: int, payload_bytes: int) -> Measured:
        """Submit the app and follow it. Raises: Failed."""
        self._submit(exchanges + WARM_UP, payload_bytes)
        self._follow(done=0, until=WARM_UP)
        cpu = cpu_seconds()
        seconds = self._follow(done=WARM_UP, until=WARM_UP + exchanges)
        return Measured(self._nodes, tuple(seconds[WARM_UP:]), cpu_seconds() - cpu)

    def _submit(self, exchanges: int, payload_bytes: int) -> None:
        environment = self._environment("control")
        (Path(environment["FLWR_HOME"]) / "config.toml").write_text(
            f'[superlink.bench]\naddress = "{self._address}"\nroot-certificates = "{self._certificate}"\n'
        )
        numbers = f"nodes={self._nodes} exchanges={exchanges} payload-bytes={payload_bytes}"
        command = [str(PROGRAMS / "flwr"), "run", str(APP), "bench", "--run-config", f'{numbers} times="{self._times}"']
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise self._failed(f"flwr run: {done.stdout}{done.stderr}")

    def _follow(self, *, done: int, until: int) -> list[float]:
        """Wait until the ServerApp has written down ``until`` exchanges and return their seconds."""
        end = time.monotonic() + PATIENCE_SECONDS
        while done < until:
            lines = self._times.read_text().split("\n")[:-1] if self._times.exists() else []
            for number, line in enumerate(lines[done:], done):
                self._say(f"exchange {number}: {float(line):.2f} s")
            if len(lines) > done:
                done, end = len(lines), time.monotonic() + PATIENCE_SECONDS
            elif time.monotonic() > end:
                raise self._failed(f"no exchange within {PATIENCE_SECONDS:.0f} s")
            elif "raised an exception" in self._log("superlink").read_text(errors="replace"):
                raise self._failed("the ServerApp failed")
            time.sleep(POLL_SECONDS)
        return [float(line) for line in self._times.read_text().split()]


def _self_signed(root: Path) -> tuple[Path, Path]:
    """Write a certificate of its own authority for loopback, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark")])
    addresses = [x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")), x509.DNSName("localhost")]
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (root / "tls.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (root / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return root / "tls.pem", root / "tls.key"
