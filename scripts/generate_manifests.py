"""Write `deploy/kubernetes/*.yaml` from the chart, one file per variant, for `kubectl apply` without helm.

Each file names the digest of the chart it was made from, so that a stale one shows without helm.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT: Final = Path(__file__).resolve().parents[1]
CHART: Final = ROOT / "deploy" / "helm" / "credential-briefcase"
FOLDER: Final = ROOT / "deploy" / "kubernetes"
HELM: Final = ROOT / "scripts" / "helm"
NAMES: Final = ("example", "transparent", "identity")
HEADER: Final = """\
# Made by `make manifests` from the chart deploy/helm/credential-briefcase and its ci/{name}-values.yaml.
# chart sha256: {digest}
"""


def values_file(name: str) -> Path:
    """The values of one variant."""
    return CHART / "ci" / f"{name}-values.yaml"


def chart_digest(name: str) -> str:
    """SHA-256, hex, over the names and contents of everything that a rendering of this variant depends on."""
    digest = hashlib.sha256()
    for path in [*_chart_files(), values_file(name)]:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(CHART).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _chart_files() -> Iterable[Path]:
    top = [CHART / name for name in ("Chart.yaml", "values.yaml", "values.schema.json")]
    return [*top, *sorted((CHART / "templates").iterdir())]


def render(*values: Path, chart: Path = CHART, release: str = "agent") -> str:
    """What `helm template` prints.

    Raises:
        RuntimeError: helm refuses; its own words.
    """
    files = [word for path in values for word in ("--values", str(path))]
    command = [str(HELM), "template", release, str(chart), "--namespace", "default", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def manifest(name: str) -> str:
    """`deploy/kubernetes/NAME.yaml` as it should be: the rendering, without what only helm needs."""
    text = re.sub(r"^# Source: .*\n", "", render(values_file(name)), flags=re.MULTILINE)
    text = re.sub(r"^ *app\.kubernetes\.io/managed-by: Helm\n", "", text, flags=re.MULTILINE)
    return HEADER.format(name=name, digest=chart_digest(name)) + text


def main() -> int:
    """The exit code: always 0; a refusal of helm ends with a traceback that holds its words."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (FOLDER / f"{name}.yaml").write_text(manifest(name), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
