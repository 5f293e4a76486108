"""The gate as a package of its own: what installing it brings, and that it works from its wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[3]
DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
HEAVY = {"dagster", "torch", "scanpy", "transformers", "scikit-learn", "anndata", "h5py", "numba", "matplotlib"}


def named(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", Requirement(requirement).name).lower()


def brought(requirements: list[str]) -> set[str]:
    """Names of all distributions that installing the requirements brings, as installed here."""
    seen: set[str] = set()
    left = [text for text in requirements if not (m := Requirement(text).marker) or m.evaluate({"extra": ""})]
    while left:
        name = named(left.pop())
        if name not in seen:
            seen.add(name)
            wanted = metadata.requires(name) or []
            left += [text for text in wanted if not (m := Requirement(text).marker) or m.evaluate({"extra": ""})]
    return seen


def test_the_gate_alone_brings_nothing_of_the_platform():
    names = brought(DECLARED["dependencies"])
    assert "great-expectations" in names
    assert not names & HEAVY


def test_reading_h5ad_is_an_extra():
    extras = DECLARED["optional-dependencies"]
    assert [named(text) for text in extras["h5ad"]] == ["anndata"]
    assert DECLARED["scripts"]["qc-gate"] == "qc_standards.cli:main"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what the wheel is built from, so that building leaves nothing in the tree."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE", "action.yml"):
        shutil.copy(PROJECT / name, folder / name)
    for name in ("qc_standards", "interp_assets"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def call(*command: object, **env: str) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GITHUB"))}
    return subprocess.run(
        [str(part) for part in command], env={**plain, **env}, capture_output=True, text=True, check=False, cwd="/"
    )


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder)
    done = call(sys.executable, "-m", "pip", "wheel", "--quiet", *options, checkout)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_requires_what_is_declared_and_holds_its_data(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        content = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    required = [
        Requirement(line.split(": ", 1)[1]) for line in content.splitlines() if line.startswith("Requires-Dist:")
    ]
    plain = {item.name for item in required if item.marker is None}
    assert plain == {named(text) for text in DECLARED["dependencies"]}
    for folder in ("registry", "standards"):
        held = (PROJECT / "qc_standards" / folder).rglob("*")
        files = {path.relative_to(PROJECT).as_posix() for path in held if path.is_file() and path.suffix != ".pyc"}
        assert files
        assert files <= names


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A venv that holds the wheel and nothing else; other packages come from a path given to a call."""
    folder = tmp_path_factory.mktemp("venv")
    assert call(sys.executable, "-m", "venv", folder).returncode == 0
    done = call(folder / "bin/pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


@pytest.mark.slow
def test_light_commands_need_yaml_and_nothing_else(installed, tmp_path):
    (tmp_path / "yaml").symlink_to(Path(yaml.__file__).parent)
    claims = tmp_path / "claims.yaml"
    claims.write_text("claims: [adds_incremental_value]\n")
    for command in (["--help"], ["list"], ["explain", "QCS-09"], ["claims", claims]):
        done = call(installed / "qc-gate", *command, PYTHONPATH=str(tmp_path))
        assert done.returncode == 0, done.stderr
    done = call(installed / "python", "-c", "import qc_standards, sys; print(qc_standards.__file__)")
    assert str(installed.parent) in done.stdout


@pytest.mark.slow
def test_the_installed_gate_judges(installed, planted_folder, refuted_folder, tmp_path):
    packages = str(Path(yaml.__file__).parents[1])
    claims = tmp_path / "claims.yaml"
    claims.write_text("claims: [adds_incremental_value]\n")
    for folder, code in ((planted_folder, 0), (refuted_folder, 1)):
        sarif = tmp_path / "out.sarif"
        done = call(installed / "qc-gate", "check", folder, "--claims", claims, "--sarif", sarif, PYTHONPATH=packages)
        assert done.returncode == code, done.stderr
        assert sarif.exists()
    assert call(installed / "qc-gate", "validate", PYTHONPATH=packages).returncode == 0


@pytest.mark.slow
def test_the_action_installs_the_gate_from_its_checkout(checkout, tmp_path):
    step = next(
        s for s in yaml.safe_load((checkout / "action.yml").read_text())["runs"]["steps"] if "Install" in s["name"]
    )
    (tmp_path / "step.sh").write_text(step["run"])
    offline = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    done = call(
        *("bash", "--noprofile", "--norc", "-eo", "pipefail", tmp_path / "step.sh"),
        RUNNER_TEMP=str(tmp_path),
        GITHUB_ACTION_PATH=str(checkout),
        GATE_PYTHON=sys.executable,
        PYTHONPATH=str(Path(yaml.__file__).parents[1]),  # setuptools, which the runner would download
        **offline,
    )
    assert done.returncode == 0, done.stderr
    assert (
        call(tmp_path / "qc-gate/bin/qc-gate", "list", PYTHONPATH=str(Path(yaml.__file__).parents[1])).returncode == 0
    )
