"""`qc-gate`: judge a result folder, a table or a claims file; explain, list, export and validate what is declared.

What belongs here: options, exit codes and where output goes. What does not: text (`explain`, `outputs`) or judging.
Heavy imports happen inside the commands, so that help, list, explain and claims answer at once.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qc_standards.assertions import ClaimsFileError, check_contexts, read_claims_file
from qc_standards.claims import CLAIMS_FILE, claims_registry, required_controls
from qc_standards.explain import UnknownNameError, example_csv, explanation, listing
from qc_standards.registry import RegistryError, declared_tests
from qc_standards.standards import STANDARDS_FOLDER, Standard, StandardError, read_standards, shipped_standards

if TYPE_CHECKING:
    from qc_standards.outputs.findings import Report

EXIT_INVALID: Final = 2
# Damaged tables can break numpy, pandas or Great Expectations anywhere. An exception that escapes ends a process with
# 1, which would read as refuted; so whatever breaks while judging is told as an input that could not be judged.
_BREAKS_JUDGING: Final = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)

_EPILOG = """\
exit codes of `check`:
  0  every asserted claim is supported
  1  at least one asserted claim is refuted or inconclusive
  2  the input is invalid, or an asserted claim is not evaluable

with --standard, and of `validate TABLE`:
  0  every named standard passes
  1  at least one fails
  2  the input is invalid, or one is not evaluable

A claims file asserts declared claims. It may assert one more weakly than declared, and cannot loosen one:

  claims:
    - beats_gene_level_baselines
    - id: adds_incremental_value
      context: perturbqa_k562      # a study or dataset the results must cover
      level: decoding              # at most the declared evidence level
"""


def _told(error: Exception) -> str:
    """Message of an exception; one that the gate did not raise itself also says where it came from."""
    if type(error).__module__.startswith("qc_standards."):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"could not be judged: {type(error).__name__}: {error} (in {Path(last.filename).name}, line {last.lineno})"


def _write(path: Path | None, text: Callable[[], str]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(), encoding="utf-8", newline="\n")


def _deliver(report: Report, options: argparse.Namespace, own: Iterable[Standard] = ()) -> int:
    """Write the report in every format that was asked for; returns the exit code."""
    from qc_standards.outputs import annotations, junit, machine, sarif, text
    from qc_standards.sentences import plain

    _write(options.junit, lambda: junit.junit(report))
    _write(options.sarif, lambda: sarif.sarif(report, own))
    _write(options.json, lambda: machine.json_report(report))
    _write(options.markdown, lambda: text.markdown(report))
    for problem in report.problems:
        print(f"qc-gate: invalid input: {plain(problem.text)}", file=sys.stderr)
    if not report.problems:
        print(text.terminal(report), end="")
    if _in_workflow(options):
        print(annotations.workflow_commands(report), end="")
    return report.exit_code


def _in_workflow(options: argparse.Namespace) -> bool:
    return bool(options.github) or os.environ.get("GITHUB_ACTIONS") == "true"


def _named(names: Sequence[str], standards: Mapping[str, Standard]) -> list[Standard]:
    """Return standards by id, each once; an unknown or deprecated one is refused."""
    unknown = [name for name in names if name not in standards]
    if unknown:
        raise UnknownNameError(f"unknown standard {', '.join(unknown)}; declared: {', '.join(standards)}")
    chosen = [standards[name] for name in dict.fromkeys(names)]
    old = [standard.id for standard in chosen if standard.status != "active"]
    if old:
        raise UnknownNameError(
            f"{', '.join(old)} is deprecated; its file in {STANDARDS_FOLDER.name}/ says what replaces it"
        )
    return chosen


def _reported(judge: Callable[[], Report], what: Path) -> Report:
    """Report of a judgement, or of why there is none."""
    from qc_standards.outputs.findings import invalid_input

    try:
        return judge()
    except ClaimsFileError as error:
        return invalid_input(error, str(what))
    except _BREAKS_JUDGING as error:
        return invalid_input(ValueError(_told(error)), str(what))


def _check(options: argparse.Namespace) -> int:
    if options.folder.is_file():
        return _check_crate(options)
    return _deliver(_reported(lambda: _judged(options, options.folder), options.folder), options)


def _judged(options: argparse.Namespace, folder: Path) -> Report:
    """Report of the judgement of one result folder."""
    from qc_standards.gate import judge
    from qc_standards.outputs import reports
    from qc_standards.results import check_stored, read_results

    chosen = _named(options.standard, shipped_standards())
    asserted = None if options.claims is None else read_claims_file(options.claims)
    results = read_results(folder)
    judgement = judge(results, None if asserted is None else asserted.ids)
    check_stored(results, judgement)
    if asserted is not None:
        check_contexts(asserted, results)
    if not chosen:
        return reports.of_judgement(judgement, asserted)
    judged = {result.id: result for result in judgement.standards}
    title = f"{judgement.release} in study {judgement.study}"
    identity = f"{judgement.study}/{judgement.release}"
    return reports.of_standards([judged[standard.id] for standard in chosen], title, identity)


def _check_crate(options: argparse.Namespace) -> int:
    """Judge every result folder of an exported zip, or those of one study; the worst exit code counts."""
    from qc_standards.crate import Crate, CrateError, unpacked
    from qc_standards.outputs.findings import invalid_input
    from qc_standards.results import ResultsError

    def judged(crate: Crate, folder: Path) -> Report:
        try:
            return _judged(options, folder)
        except ResultsError as error:
            raise CrateError(crate.told(error)) from error

    try:
        with unpacked(options.folder) as crate:
            chosen = crate.of(options.study)
            if len(chosen) > 1 and any((options.junit, options.sarif, options.json, options.markdown)):
                held = ", ".join(study for study, _ in chosen)
                raise CrateError(f"{crate.path}: one report describes one study; choose with --study: {held}")
            judge = functools.partial(judged, crate)
            reports = [_reported(functools.partial(judge, folder), options.folder) for folder in chosen.values()]
    except (CrateError, OSError) as error:
        reports = [invalid_input(ValueError(_told(error)), str(options.folder))]
    return max(_deliver(report, options) for report in reports)


def _say(options: argparse.Namespace) -> int:
    """Print what may be said of a result folder, from the verdicts that its tables give today."""
    try:
        from qc_standards.documents import canonical_json, statement_document
        from qc_standards.gate import check_folder
        from qc_standards.outputs.said import markdown_lines, terminal_lines
        from qc_standards.statements import statement

        judgement = check_folder(options.folder)
        if options.json:
            told = canonical_json(statement_document(judgement))
        else:
            written = markdown_lines if options.markdown else terminal_lines
            told = "\n".join(written(statement(judgement))).rstrip() + "\n"
    except _BREAKS_JUDGING as error:
        print(f"qc-gate: invalid input: {_told(error)}; nothing may be said from it", file=sys.stderr)
        return EXIT_INVALID
    print(told, end="")
    return 0


def _claims(options: argparse.Namespace) -> int:
    from qc_standards.outputs.annotations import workflow_commands
    from qc_standards.outputs.findings import invalid_input

    code = 0
    for path in options.files:
        try:
            asserted = read_claims_file(path)
        except ClaimsFileError as error:
            code = EXIT_INVALID
            print(error, file=sys.stderr)
            if _in_workflow(options):
                print(workflow_commands(invalid_input(error, str(path))), end="")
        else:
            print(f"{path}: {len(asserted.ids)} claim(s) may be asserted: {', '.join(asserted.ids)}")
    return code


def _explain(options: argparse.Namespace) -> int:
    print(example_csv(options.name, options.example) if options.example else explanation(options.name), end="")
    return 0


def _list(options: argparse.Namespace) -> int:
    print(listing(options.what), end="")
    return 0


def _export(options: argparse.Namespace) -> int:
    from qc_standards.gate import check_folder
    from qc_standards.gx_export import export

    try:
        results = None if options.folder is None else check_folder(options.folder).standards
        written = export(options.gx, results)
    except _BREAKS_JUDGING as error:
        print(f"qc-gate: nothing exported: {_told(error)}", file=sys.stderr)
        return EXIT_INVALID
    suites = sum(path.name.endswith(".suite.json") for path in written)
    print(f"{suites} suites and their tables in {options.gx}; {written[-1].name} lists them")
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
    return _validate_registry(options) if options.table is None else _validate_table(options)


def _validate_registry(options: argparse.Namespace) -> int:
    folder = options.standards or STANDARDS_FOLDER
    try:
        told = _check_examples(folder)
        counts = (len(declared_tests()), len(claims_registry().claims), len(read_standards(folder)))
    except ValueError as error:
        told = [str(error)]
    if told:
        print("\n".join(f"qc-gate: {line}" for line in told), file=sys.stderr)
        return EXIT_INVALID
    print(
        f"{counts[0]} tests, {counts[1]} claims ({CLAIMS_FILE.name}) and {counts[2]} standards are valid; "
        f"{len(required_controls('RELEASE'))} controls are required"
    )
    return 0


def _validate_table(options: argparse.Namespace) -> int:
    folder = options.standards or STANDARDS_FOLDER
    chosen: list[Standard] = []

    def judge() -> Report:
        from qc_standards.outputs import reports
        from qc_standards.suites import judge_frame
        from qc_standards.user_tables import column_map, named_as_standards, read_table

        chosen.extend(_named(options.standard, read_standards(folder)))
        mapped = column_map(options.map, chosen)
        table = named_as_standards(read_table(options.table, options.place), mapped, chosen, str(options.table))
        results = [judge_frame(standard, table) for standard in chosen]
        return reports.of_standards(results, options.table.name, f"table/{options.table.name}", folder)

    return _deliver(_reported(judge, options.table), options, chosen)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    parser.add_argument("--sarif", type=Path, metavar="FILE", help="write SARIF 2.1.0")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a markdown summary")
    _add_github(parser)


def _add_github(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--github", action="store_true", help="print workflow annotations (always done where GITHUB_ACTIONS is true)"
    )


def _add_check(commands: Any) -> None:
    check = commands.add_parser("check", help="recompute and judge a result folder, or an exported zip")
    check.add_argument(
        "folder", type=Path, metavar="RESULTS", help="store/<study>/<release>, or a zip of `interp export`"
    )
    check.add_argument("--study", help="of a zip: judge the results of this study (default: all it holds)")
    what = check.add_mutually_exclusive_group()
    what.add_argument("--claims", type=Path, metavar="FILE", help="asserted claims (default: the headline claim)")
    what.add_argument(
        "--standard",
        action="append",
        default=[],
        metavar="ID",
        help="judge this standard and no claim; repeat for more",
    )
    _add_outputs(check)
    check.set_defaults(run=_check)


def _add_say(commands: Any) -> None:
    say = commands.add_parser("say", help="print what may be said of a result folder, what must not, and why")
    say.add_argument("folder", type=Path, help="store/<study>/<release>")
    form = say.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON, the bytes of statement.json")
    form.add_argument("--markdown", action="store_true", help="as markdown")
    say.set_defaults(run=_say)


def _add_validate(commands: Any) -> None:
    validate = commands.add_parser("validate", help="hold standards against a table, or check the declarations")
    validate.add_argument("table", nargs="?", type=Path, metavar="TABLE", help="parquet, CSV, TSV or h5ad")
    validate.add_argument("--standard", action="append", default=[], metavar="ID", help="repeat for more")
    validate.add_argument("--map", action="append", default=[], metavar="COLUMN=THEIRS", help="how a column is called")
    validate.add_argument("--place", default="obs", help="table within an h5ad file: obs, var or uns/<key>")
    validate.add_argument("--standards", type=Path, metavar="FOLDER", help="standards of your own (default: shipped)")
    _add_outputs(validate)
    validate.set_defaults(run=_validate)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qc-gate",
        description="Judge an evaluation against QC standards, and clear claims or keep them closed.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_check(commands)
    _add_say(commands)
    claims = commands.add_parser("claims", help="check claims files without results")
    claims.add_argument("files", nargs="+", type=Path, metavar="FILE")
    _add_github(claims)
    claims.set_defaults(run=_claims)
    explain = commands.add_parser("explain", help="explain a standard, claim, criterion or declared test")
    explain.add_argument("name", help="QCS-NN, a claim id, a criterion id or a test id")
    explain.add_argument("--example", choices=["passing", "failing"], help="print an example of a standard as CSV")
    explain.set_defaults(run=_explain)
    listed = commands.add_parser("list", help="list what is declared")
    listed.add_argument("what", nargs="?", choices=["claims", "criteria", "standards", "controls", "tests"])
    listed.set_defaults(run=_list)
    _add_validate(commands)
    exported = commands.add_parser("export", help="write standards as suites for plain Great Expectations")
    exported.add_argument("--gx", type=Path, required=True, metavar="DIR", help="folder to write to")
    exported.add_argument("folder", nargs="?", type=Path, metavar="RESULTS", help="default: the shipped examples")
    exported.set_defaults(run=_export)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `qc-gate`; returns the exit code (0, 1 or 2)."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "validate" and bool(options.table) != bool(options.standard):
        parser.error("validate TABLE needs --standard ID, and --standard needs a TABLE")
    if options.command == "check" and options.study is not None and not options.folder.is_file():
        parser.error(f"--study chooses within an exported zip; {options.folder} is none")
    try:
        return int(options.run(options))
    except (RegistryError, StandardError) as error:
        print(f"qc-gate: the declared standards are invalid: {error}", file=sys.stderr)
    except UnknownNameError as error:
        print(f"qc-gate: {error}", file=sys.stderr)
    except OSError as error:
        print(f"qc-gate: {error}; nothing more was written", file=sys.stderr)
    return EXIT_INVALID


if __name__ == "__main__":
    sys.exit(main())
