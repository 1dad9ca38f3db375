"""Reads the manifests: objects by kind, containers by name, the configuration as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
KUBERNETES: Final = ROOT / "deploy" / "kubernetes"
CHART: Final = ROOT / "deploy" / "helm" / "credential-briefcase"


@dataclass(frozen=True)
class Manifests:
    """Every object of one file."""

    objects: list[dict[str, Any]]

    @classmethod
    def of(cls, text: str) -> Manifests:
        return cls([item for item in yaml.safe_load_all(text) if item])

    def only(self, kind: str) -> dict[str, Any]:
        (found,) = [item for item in self.objects if item["kind"] == kind]
        return found

    def kinds(self) -> set[str]:
        return {item["kind"] for item in self.objects}

    @property
    def pod(self) -> dict[str, Any]:
        return self.only("Deployment")["spec"]["template"]["spec"]

    def container(self, name: str) -> dict[str, Any]:
        (found,) = [one for one in [*self.pod["initContainers"], *self.pod["containers"]] if one["name"] == name]
        return found

    def mounts(self, name: str) -> dict[str, str]:
        return {mount["name"]: mount["mountPath"] for mount in self.container(name)["volumeMounts"]}

    def volume(self, name: str) -> dict[str, Any]:
        (found,) = [volume for volume in self.pod["volumes"] if volume["name"] == name]
        return found

    def configuration(self, folder: Path) -> Path:
        """The mounted configuration below `folder`; returns the path of briefcased.yaml."""
        data = self.only("ConfigMap")["data"]
        for item in self.volume("briefcased-config")["configMap"]["items"]:
            path = folder / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(data[item["key"]], "utf-8")
        return folder / "briefcased.yaml"
