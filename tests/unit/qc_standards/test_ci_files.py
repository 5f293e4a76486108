"""The composite action and the pre-commit hook, run with the command lines they hold."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[3]
ACTION = yaml.safe_load((PROJECT / "action.yml").read_text())
HOOKS = yaml.safe_load((PROJECT / ".pre-commit-hooks.yaml").read_text())
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
INPUT = re.compile(r"\$\{\{ inputs\.([\w-]+) \}\}")
CLEARED = "claims:\n  - beats_gene_level_baselines\n  - survives_confounds_and_degree\n"


def wrapper(path: Path, *command: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    path.chmod(0o755)


def run_step(name: str, temp: Path, **inputs: str) -> tuple[int, dict[str, str], str]:
    """Exit code, outputs and text of one step of the action, run as a runner does."""
    step = STEPS[name]
    given = {key: str(entry.get("default", "")) for key, entry in ACTION["inputs"].items()} | inputs
    env = {key: INPUT.sub(lambda match: given[match.group(1)], value) for key, value in step["env"].items()}
    script, output = temp / "step.sh", temp / "output.txt"
    script.write_text(step["run"])
    output.write_text("")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
        cwd=temp,
        env={
            **os.environ,
            **env,
            "RUNNER_TEMP": str(temp / "runner"),
            "GITHUB_ACTION_PATH": str(temp / "checkout"),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(temp / "summary.md"),
            "GITHUB_WORKSPACE": str(temp),
            "GITHUB_ACTIONS": "true",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return done.returncode, outputs, done.stdout + done.stderr


@pytest.fixture
def runner(tmp_path):
    """A runner on which the gate is installed already."""
    wrapper(tmp_path / "runner/qc-gate/bin/qc-gate", sys.executable, "-m", "qc_standards.cli")
    wrapper(tmp_path / "runner/qc-gate/bin/python", sys.executable)
    return tmp_path


def test_the_action_is_a_composite_of_shell_steps_with_declared_inputs():
    assert ACTION["runs"]["using"] == "composite"
    read = set()
    for step in STEPS.values():
        assert step["shell"] == "bash"
        assert "uses" not in step
        assert "${{" not in step["run"], "inputs reach a script through the environment, never as text"
        read |= {name for value in step["env"].values() for name in INPUT.findall(value)}
    assert read == set(ACTION["inputs"])
    written = set(re.findall(r'echo "([\w-]+)=', STEPS["Judge"]["run"]))
    assert written == set(ACTION["outputs"])
    for name, entry in ACTION["outputs"].items():
        assert entry["value"] == f"${{{{ steps.gate.outputs.{name} }}}}"


def test_cleared_claims_pass_and_every_report_is_there(runner, planted_folder):
    (runner / "claims.yaml").write_text(CLEARED)
    code, outputs, text = run_step("Judge", runner, results=str(planted_folder), claims="claims.yaml")
    assert (code, outputs["exit-code"], outputs["verdict"]) == (0, "0", "cleared"), text
    assert "::notice file=claims.yaml,line=2,title=beats_gene_level_baselines%3A supported" in text
    assert json.loads((runner / outputs["json"]).read_text())["exit_code"] == 0
    assert json.loads((runner / outputs["sarif"]).read_text())["version"] == "2.1.0"
    assert (runner / outputs["junit"]).read_text().startswith("<?xml")
    assert "Together: **cleared**" in (runner / "summary.md").read_text()


def test_a_refuted_claim_fails_the_step_unless_told_otherwise(runner, refuted_folder):
    code, outputs, text = run_step("Judge", runner, results=str(refuted_folder))
    assert (code, outputs["verdict"]) == (1, "closed"), text
    assert "::error title=attention_is_regulatory%3A refuted" in text
    code, outputs, _ = run_step("Judge", runner, results=str(refuted_folder), **{"fail-on": "invalid"})
    assert (code, outputs["exit-code"], outputs["verdict"]) == (0, "1", "closed")


@pytest.mark.parametrize(("fail_on", "code"), [("closed", 2), ("invalid", 2), ("never", 0), ("sometimes", 2)])
def test_an_invalid_input_is_never_cleared(runner, fail_on, code):
    (runner / "claims.yaml").write_text("claims: [$(touch stolen)]\n")
    done, outputs, text = run_step("Judge", runner, results="a b; exit 0", claims="claims.yaml", **{"fail-on": fail_on})
    assert done == code, text
    assert not (runner / "stolen").exists()
    if fail_on == "sometimes":
        assert outputs == {}
    else:
        assert (outputs["exit-code"], outputs["verdict"]) == ("2", "invalid input")
        assert (runner / outputs["sarif"]).exists()


def test_an_old_report_is_not_taken_for_a_new_one(runner, planted_folder):
    report = runner / "qc-gate-report/qc-gate.json"
    report.parent.mkdir()
    report.write_text('{"state": "cleared"}')
    code, outputs, _ = run_step("Judge", runner, results=str(planted_folder), claims="none.yaml", standard="QCS-01")
    assert (code, outputs) == (2, {"exit-code": "2", "verdict": "invalid input"})
    assert not report.exists()


def test_standards_are_given_separated_by_blanks(runner, planted_folder):
    code, outputs, text = run_step("Judge", runner, results=str(planted_folder), standard="QCS-01\nQCS-02 ")
    assert (code, outputs["verdict"]) == (0, "cleared"), text
    assert re.findall(r"title=(QCS-\d+)", text) == ["QCS-01", "QCS-02"]


def hook_files(*names: str) -> list[str]:
    return [name for name in names if re.search(HOOKS[0]["files"], name)]


def test_the_hook_takes_claims_files_and_no_others():
    wanted = ["claims.yaml", "models/mine/claims.yml"]
    assert hook_files(*wanted, "my-claims.yaml", "claims.yaml.bak", "claims.json", "claims/other.yaml") == wanted
    assert [hook["id"] for hook in HOOKS] == ["qc-claims"]
    assert HOOKS[0]["language"] == "python"


@pytest.mark.parametrize(("text", "code"), [(CLEARED, 0), ("claims:\n  - attention_is_magic\n", 2)])
def test_the_hook_runs_its_entry_on_the_files(tmp_path, text, code):
    (tmp_path / "claims.yaml").write_text(text)
    wrapper(tmp_path / "bin/qc-gate", sys.executable, "-m", "qc_standards.cli")
    done = subprocess.run(
        [*shlex.split(HOOKS[0]["entry"]), *hook_files("claims.yaml")],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert ("claims.yaml:2: unknown claim" in done.stderr) == bool(code)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (PROJECT / page).read_text(), flags=re.M | re.S)


@pytest.mark.parametrize("page", ["README.md", "docs/gate.md"])
def test_every_command_of_the_documentation_is_one(page):
    from qc_standards.cli import _parser

    lines = [part.strip() for block in blocks(page, "sh") for line in block.splitlines() for part in line.split("&&")]
    commands = [line for line in lines if line.startswith("qc-gate ")]
    assert len(commands) > 4
    for command in commands:
        _parser().parse_args(shlex.split(command.split(" > ")[0], comments=True)[1:])


def test_the_documented_claims_file_is_allowed(tmp_path):
    from qc_standards.assertions import read_claims_file

    example = next(block for block in blocks("docs/gate.md", "yaml") if block.startswith("claims:"))
    (tmp_path / "claims.yaml").write_text(example)
    assert len(read_claims_file(tmp_path / "claims.yaml").ids) == 2


def test_the_documented_way_into_great_expectations_works(tmp_path):
    from qc_standards.cli import main

    assert main(["export", "--gx", str(tmp_path / "gx")]) == 0
    done = subprocess.run(
        [sys.executable, "-c", blocks("docs/gate.md", "python")[0]], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "True", done.stderr
