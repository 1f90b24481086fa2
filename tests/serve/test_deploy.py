"""The files of examples/deploy are what the programs that read them accept, and agree with the options of the gateway."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from unspool.cli.options.serve import COMMANDS
from unspool.durations import parse as seconds

from .nodes import NGINX

yaml = pytest.importorskip("yaml")

DEPLOY = Path(__file__).parents[2] / "examples" / "deploy"
KNOWN = {word for option in COMMANDS[0].options for word in re.findall(r"--[a-z-]+", option.spec)}

pytestmark = pytest.mark.skipif(not DEPLOY.exists(), reason="the examples are not beside the tests")


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def kubernetes(kind: str, name: str) -> dict[str, Any]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    [found] = [one for one in documents if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return dict(found["spec"])


def unit() -> dict[str, str]:
    lines = (DEPLOY / "unspool.service").read_text().replace("\\\n", " ").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))


def commands() -> dict[str, tuple[list[str], float]]:
    """The options of the gateway in each file, and how many seconds it is given to end."""
    service, pod = compose()["services"]["gateway"], kubernetes("Deployment", "unspool")["template"]["spec"]
    return {
        "compose": (service["command"], seconds(service["stop_grace_period"])),
        "kubernetes": (pod["containers"][0]["args"], pod["terminationGracePeriodSeconds"] - 5),
        "systemd": (shlex.split(unit()["ExecStart"])[2:], float(unit()["TimeoutStopSec"])),
    }


@pytest.mark.parametrize("file", ["compose", "kubernetes", "systemd"])
def test_the_gateway_knows_its_options_and_has_longer_to_end_than_it_drains(file: str) -> None:
    words, grace = commands()[file]
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= KNOWN
    [drain] = re.findall(r"--drain[ =](\S+)", " ".join(words))
    assert seconds(drain) < grace


def test_kubernetes_asks_the_routes_that_say_whether_a_node_is_ready() -> None:
    [container] = kubernetes("Deployment", "unspool")["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_nginx_accepts_its_file(tmp_path: Path) -> None:
    if NGINX is None:
        pytest.skip("nginx is not installed")
    text = (DEPLOY / "nginx.conf").read_text().replace("gateway:8400", "127.0.0.1:8400")
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid; error_log {tmp_path}/log;\n{text}")
    subprocess.run([NGINX, "-t", "-q", "-c", str(tmp_path / "nginx.conf")], check=True)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    text = (DEPLOY / "unspool.service").read_text().replace("/var/lib/unspool/venv/bin/unspool", "/bin/true")
    (tmp_path / "unspool.service").write_text(text)
    subprocess.run([analyze, "verify", str(tmp_path / "unspool.service")], check=True)
