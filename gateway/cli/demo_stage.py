"""What the demo runs on: a sample upstream, a route file for it, a gateway, and their end."""

import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from gateway.errors import GatewayError

SHIPPED_CONFIG: Final = Path(__file__).parent / "demo_files" / "policies" / "gateway.yaml"
"""The project's own route file, which an installed package carries with its pricing file."""

READY_SECONDS: Final = 20.0
STOP_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.05


@dataclass(slots=True)
class Stage:
    """The demo's processes and files.

    Attributes:
        data_dir: Journal, databases, the demo's route file and logs.
        host: Where the gateway listens, beside ``port``.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 0
    admin_port: int = 0
    config: Path = field(default_factory=Path)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where clients call."""
        return f"http://{self.host}:{self.port}"

    def start_upstream(self) -> str:
        """Start the sample upstream and return its address.

        Raises:
            GatewayError: it does not start.
        """
        command = [sys.executable, "-m", "upstream_stubs", "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
        self.processes.append(process)
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise GatewayError("listen.upstream", "the sample upstream does not start", "")
        return address

    def write_config(self, source: Path, upstream: str) -> None:
        """Write the demo's route file: the given one, with every upstream at the sample's address.

        Raises:
            GatewayError: the given file or its pricing can't be read or is no route file.
        """
        try:
            document = yaml.safe_load(source.read_text(encoding="utf-8"))
            _point_to(document, upstream)
            document["pricing"] = [
                self._copy(source.parent / path) for path in _listed(document["pricing"])
            ]
        except OSError as error:
            raise GatewayError(
                "config.unreadable",
                f"{error.filename} can't be read: {error.strerror}",
                "name another route file with --config, or none: the demo has its own",
            ) from error
        except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise unsuited(
                source, "it is no route file", f"`gateway check --config {source}` says why"
            ) from error
        self.config = self._own_folder() / "gateway.yaml"
        # JSON is YAML, and needs no second way of writing it.
        self.config.write_text(json.dumps(document, indent=2), encoding="utf-8")

    def _copy(self, pricing: Path) -> str:
        """Copy a pricing file into the demo's folder, where it may be changed at will."""
        shutil.copyfile(pricing, self._own_folder() / pricing.name)
        return pricing.name

    def _own_folder(self) -> Path:
        """Return the folder of the demo's configuration, watched by the gateway: no data in it."""
        folder = self.data_dir / "config"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def start_gateway(self) -> None:
        """Start the gateway and wait until it is ready.

        Raises:
            GatewayError: it ends, or is not ready in time.
        """
        self.admin_port = free_port(self.host, 0)
        command = [
            sys.executable, "-m", "gateway", "serve", "--config", str(self.config),
            "--listen", f"{self.host}:{self.port}",
            "--admin-listen", f"{self.host}:{self.admin_port}",
            "--data-dir", str(self.data_dir),
        ]  # fmt: skip
        with (
            (self.data_dir / "access.log").open("w", encoding="utf-8") as access,
            (self.data_dir / "events.log").open("w", encoding="utf-8") as events,
        ):
            process = subprocess.Popen(command, stdout=access, stderr=events, text=True)  # noqa: S603 - ours
        self.processes.append(process)
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise GatewayError(
                    "listen.gateway",
                    "the gateway does not get ready",
                    f"read {self.data_dir / 'events.log'}",
                )
            time.sleep(POLL_SECONDS)

    def await_end(self) -> NoReturn:
        """Wait until somebody ends the demo.

        Raises:
            GatewayError: the gateway ended by itself.
        """
        code = self.processes[-1].wait()
        raise GatewayError(
            "listen.gateway",
            f"the gateway ended with exit code {code}",
            f"read {self.data_dir / 'events.log'}",
        )

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(self.host, self.admin_port, timeout=1)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """End everything that was started: the gateway first, so that it can finish its work."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self.processes.clear()


def unsuited(source: Path, reason: str, hint: str) -> GatewayError:
    """Return what is said of a route file that the demo can't run with."""
    return GatewayError("demo.unsuited", f"{source} does not suit the demo: {reason}", hint)


def _point_to(document: dict[str, Any], upstream: str) -> None:
    for entry in document["upstreams"].values():
        entry["endpoints"] = [upstream]
    for name in ("counters", "ledger", "keys"):
        document.pop(name, None)


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def free_port(host: str, wished: int) -> int:
    """Return the wished port if nobody has it, else a free one."""
    for port in (wished, 0):
        try:
            with socket.create_server((host, port)) as listener:
                found: int = listener.getsockname()[1]
                return found
        except OSError:
            continue
    raise GatewayError("listen.no_port", f"no port is free on {host}", "end what holds them")
