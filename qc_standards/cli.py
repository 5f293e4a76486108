"""`qc-gate`: check a result folder, explain a standard or claim, list and validate what is declared.

Heavy imports happen inside the commands, so that help, list and explain answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from qc_standards.claims import CLAIMS_FILE, claims_registry, read_asserted, required_controls
from qc_standards.registry import RegistryError, declared_tests
from qc_standards.standards import StandardError, read_standards, shipped_standards

_EPILOG = """\
exit codes of `check`:
  0  every asserted claim is supported
  1  at least one asserted claim is refuted or inconclusive
  2  the input is invalid, or an asserted claim is not evaluable

A claims file lists ids and nothing else; it chooses claims and cannot loosen one:

  claims:
    - attention_is_regulatory
    - beats_gene_level_baselines
"""


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


def _check(options: argparse.Namespace) -> int:
    from qc_standards import outputs
    from qc_standards.gate import check_folder

    try:
        asserted = None if options.claims is None else read_asserted(options.claims)
        judgement = check_folder(options.folder, asserted)
    except ValueError as error:
        message = str(error)
        _write(options.junit, outputs.junit_invalid(message))
        _write(options.json, outputs.json_invalid(message))
        _write(options.markdown, f"## invalid input\n\n{message}\n")
        print(f"qc-gate: invalid input: {message}", file=sys.stderr)
        return outputs.EXIT_INVALID
    _write(options.junit, outputs.junit(judgement))
    _write(options.json, outputs.json_report(judgement))
    _write(options.markdown, outputs.markdown(judgement))
    print(outputs.terminal(judgement), end="")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print(outputs.workflow_commands(judgement), end="")
    return outputs.exit_code(judgement)


def _explain_standard(name: str) -> str:
    item = shipped_standards()[name]
    evidence = "\n".join(f"  - {entry['finding']} ({entry['source']})" for entry in item.evidence)
    checks = "\n".join(
        f"  - {e.id}: {e.type} {', '.join(f'{k}={v}' for k, v in e.arguments.items())}" for e in item.expectations
    )
    rows = str(item.rows[0]) if item.rows[0] == item.rows[1] else f"at least {item.rows[0]}"
    conditions = [f"{key} is {' or '.join(map(str, values))}" for key, values in item.applies_when.items()]
    where = f"applies where {' and '.join(conditions)}\n" if conditions else ""
    behind = f"declared tests: {', '.join(item.tests)}\n" if item.tests else ""
    return (
        f"{item.id} {item.version}  {item.title}\n{item.kind}, {item.severity}, over {item.applies_to}\n"
        f"{where}{behind}\n"
        f"{item.rationale}\n\nevidence:\n{evidence}\n\nexpectations ({rows} rows, "
        f"not null: {', '.join(item.not_null)}):\n{checks}\n\nhow to fix: {item.how_to_fix}\n"
    )


def _explain_claim(name: str) -> str:
    registry = claims_registry()
    claim = registry.claims[name]
    criteria = "\n".join(
        f"  - {c}: {registry.criteria[c].title}. {registry.criteria[c].definition}" for c in claim.criteria
    )
    caveats = "\n".join(f"  - {text}" for text in claim.caveats)
    return (
        f"{claim.id}: {claim.sentence}\nevidence level {claim.evidence_level}. {claim.polarity}\n\n"
        f"criteria:\n{criteria}\n\nstandards: all integrity standards, {', '.join(claim.standards) or 'none more'}\n"
        f"controls: {', '.join(claim.controls)}\ndeclared tests: {', '.join(claim.tests)}\n\ncaveats:\n{caveats}\n"
    )


def _explain_criterion(name: str) -> str:
    spec = claims_registry().criteria[name]
    thresholds = ", ".join(f"{key} {value:g}" for key, value in spec.thresholds.items()) or "none"
    return (
        f"criterion {spec.id}: {spec.title}\n\n{spec.definition}\n\ntables: {', '.join(spec.tables)}\n"
        f"declared tests: {', '.join(spec.tests)}\nthresholds: {thresholds}\n"
    )


def _explain_test(name: str) -> str:
    spec = next(item for item in declared_tests() if item.test_id == name)
    published = "\n".join(f"  - {key}: {value}" for key, value in spec.published.items())
    kind = "confirmatory" if spec.confirmatory else "descriptive"
    return (
        f"{spec.test_id} (analysis {spec.analysis_no}, {kind}): {spec.hypothesis}\n{spec.test_type}; "
        f"{spec.comparison}\nroles: {', '.join(spec.roles) or 'none'}\n\npublished values (never computed here):\n"
        f"{published}\n"
    )


def _explain(options: argparse.Namespace) -> int:
    name = options.name
    tests = {spec.test_id for spec in declared_tests()}
    for known, tell in (
        (shipped_standards(), _explain_standard),
        (claims_registry().claims, _explain_claim),
        (claims_registry().criteria, _explain_criterion),
        (tests, _explain_test),
    ):
        if name in known:
            print(tell(name), end="")
            return 0
    print(f"qc-gate: {name} is no declared standard, claim, criterion or test; see `qc-gate list`", file=sys.stderr)
    return 2


def _list(options: argparse.Namespace) -> int:
    registry = claims_registry()
    parts = {
        "claims": [f"{c.id:34} {c.evidence_level:24} {c.sentence}" for c in registry.claims.values()],
        "criteria": [f"{c.id:34} {c.title}" for c in registry.criteria.values()],
        "standards": [
            f"{s.id} {s.version}  {s.kind:9} {s.severity:8}  {s.title}" for s in shipped_standards().values()
        ],
        "controls": [f"{c.id:34} {c.expected}" for c in registry.controls.values()],
        "tests": [f"{s.test_id:7} {s.hypothesis}" for s in declared_tests()],
    }
    chosen = [options.what] if options.what else ["claims", "criteria", "standards", "controls"]
    print("\n\n".join("\n".join([name, *(f"  {line}" for line in parts[name])]) for name in chosen))
    return 0


def _check_examples(folder: Path) -> list[str]:
    import pandas as pd

    from qc_standards.suites import evaluate_frame

    told = []
    for standard in read_standards(folder).values():
        for kind, example in standard.examples.items():
            checks = evaluate_frame(standard, pd.DataFrame([dict(row) for row in example.rows]))
            failed = sorted(check.id for check in checks if not check.success)
            if failed != sorted(example.fails):
                told.append(f"{standard.id} {kind} example fails {failed}, expected {sorted(example.fails)}")
    return told


def _validate(options: argparse.Namespace) -> int:
    from qc_standards.standards import STANDARDS_FOLDER

    folder = options.standards or STANDARDS_FOLDER
    try:
        told = _check_examples(folder)
        counts = (len(declared_tests()), len(claims_registry().claims), len(read_standards(folder)))
    except ValueError as error:
        told = [str(error)]
    if told:
        print("\n".join(f"qc-gate: {line}" for line in told), file=sys.stderr)
        return 2
    print(
        f"{counts[0]} tests, {counts[1]} claims ({CLAIMS_FILE.name}) and {counts[2]} standards are valid; "
        f"{len(required_controls('RELEASE'))} controls are required"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qc-gate",
        description="Judge an evaluation against QC standards, and clear claims or keep them closed.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="recompute and judge a result folder")
    check.add_argument("folder", type=Path, help="store/<study>/<release>")
    check.add_argument("--claims", type=Path, help="YAML list of asserted claim ids (default: the headline claim)")
    check.add_argument("--junit", type=Path, help="write JUnit XML")
    check.add_argument("--json", type=Path, help="write the judgement as JSON")
    check.add_argument("--markdown", type=Path, help="write a markdown summary")
    check.set_defaults(run=_check)
    explain = commands.add_parser("explain", help="explain a standard, claim, criterion or declared test")
    explain.add_argument("name", help="QCS-NN, a claim id, a criterion id or a test id")
    explain.set_defaults(run=_explain)
    listing = commands.add_parser("list", help="list what is declared")
    listing.add_argument("what", nargs="?", choices=["claims", "criteria", "standards", "controls", "tests"])
    listing.set_defaults(run=_list)
    validate = commands.add_parser("validate", help="check registry, claims and standards with their examples")
    validate.add_argument("--standards", type=Path, help="folder of standards (default: the shipped ones)")
    validate.set_defaults(run=_validate)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `qc-gate`; returns the exit code (0, 1 or 2)."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (RegistryError, StandardError) as error:
        print(f"qc-gate: the declared standards are invalid: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
