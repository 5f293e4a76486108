"""Histories, causes and readings on complete synthetic evaluations; effects against naive loops."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest

from interp_assets.comparison.attribution import Causes, causes, reading
from interp_assets.comparison.changes import COLUMNS, direction, verdict_changes
from interp_assets.comparison.effects import Number, difference, independent, perturbation_values
from interp_assets.comparison.history import extended, histories, read_history
from interp_assets.comparison.lines import SAME_NAME, SAME_SOURCE, STATED, lines
from interp_assets.comparison.references import reference_lines
from interp_assets.comparison.snapshot import Made, digest, evidence_archive, file_part
from interp_assets.storage import StorageError, canonical_json
from tests.unit.qc_standards.conftest import Numbers, build

RELEASE, STUDY = "geneformer-small-2k", "bench"
GOOD = {"attention": 0.95, "gain": 0.06, "kept": 0.96}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return _evaluation(tmp_path_factory.mktemp("good"), **GOOD)


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    return _evaluation(tmp_path_factory.mktemp("bad"), attention=0.55, gain=0.0, kept=0.1)


def _evaluation(folder, **numbers):
    """A complete results folder whose controls behave."""
    from qc_standards.gate import controls_frame
    from tests.unit.qc_standards.conftest import COEXPRESSION, PLANTED, SHUFFLED, control_outcome

    evaluation = build(Numbers(release=RELEASE, **numbers))
    rows = [control_outcome(build(control).judge()) for control in (PLANTED, COEXPRESSION, SHUFFLED)]
    evaluation.tables["control_outcomes"] = controls_frame(rows, RELEASE)
    return evaluation.write(folder)


def add(store, folder, made=Made(), release=RELEASE):  # noqa: B008 (frozen)
    history = read_history(store, STUDY, release)
    files = extended(history, folder, made)
    for name, content in files.items():
        (history.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (history.folder / name).write_bytes(content)
    return files


def looser(folder, target):
    """The same numbers as a judgement under rules that no longer hold: everything supported, another standard."""
    import shutil

    shutil.copytree(folder, target)
    claims, standards, verdict = (json.loads((target / f"{n}.json").read_text()) for n in _DOCUMENTS)
    for entry in claims["claims"]:
        entry["state"] = "supported"
    for entry in claims["criteria"].values():
        entry["outcome"] = "pass"
    standards["standards"][0] |= {"content_hash": "0" * 64, "version": "0.9.0"}
    verdict["standards_hash"] = "0" * 64
    for name, content in zip(_DOCUMENTS, (claims, standards, verdict), strict=True):
        (target / f"{name}.json").write_text(json.dumps(content))
    return target


_DOCUMENTS = ("claims", "standards", "verdict")


def changes(store, order=()):
    return verdict_changes([histories(store, STUDY)], order)


def test_the_same_judgement_is_kept_once_and_gives_the_same_bytes(tmp_path, good) -> None:
    first = add(tmp_path, good)
    assert add(tmp_path, good) == first
    assert changes(tmp_path).empty
    assert tuple(changes(tmp_path).columns) == COLUMNS


def test_evidence_has_no_times(good) -> None:
    assert evidence_archive(good) == evidence_archive(good)


def test_a_judgement_that_comes_back_is_an_entry_of_its_own(tmp_path, good, bad) -> None:
    for folder in (good, bad, good):
        add(tmp_path, folder, Made(data={"screen": folder.name}))
    assert len(read_history(tmp_path, STUDY, RELEASE).entries) == 3
    found = changes(tmp_path)
    assert found["change_id"].is_unique
    verdicts = found[found["level"] == "verdict"]
    assert verdicts["direction"].tolist() == ["lost", "gained"]
    assert set(verdicts["reading"]) == {"other data"}


def test_other_code_with_the_same_judgement_is_remembered_without_an_entry(tmp_path, good) -> None:
    add(tmp_path, good, Made(code={"analysis_21": "one"}))
    add(tmp_path, good, Made(code={"analysis_21": "two"}))
    (entry,) = read_history(tmp_path, STUDY, RELEASE).entries
    assert entry.code == {"analysis_21": "two"}


def test_a_stricter_standard_is_told_from_a_worse_model(tmp_path, good, bad) -> None:
    """The same numbers, judged supported once: the rules of now refute them, so the standard did it, not the model."""
    add(tmp_path / "rules", looser(bad, tmp_path / "loose-bad"))
    add(tmp_path / "rules", bad)
    found = changes(tmp_path / "rules")
    assert set(found[found["level"] == "verdict"]["reading"]) == {"stricter standard"}
    assert found["causes"].str.split(";").map(lambda names: names == ["standard"]).all()


def _with_weights(folder, target, mark):
    import shutil

    shutil.copytree(folder, target)
    facts = pd.DataFrame([("file", "model.safetensors", f"10 bytes, sha256 {mark * 64}")])
    facts.columns = ["section", "name", "value"]
    facts.to_parquet(target / "tables" / "model_facts.parquet")
    return target


def test_rules_and_weights_at_once_are_put_down_to_what_rejudging_shows(tmp_path, good, bad) -> None:
    """Old numbers that hold under the new rules: the model got worse. Old numbers that fall: the rules alone do it."""
    old = looser(_with_weights(good, tmp_path / "g", "a"), tmp_path / "loose-good")
    add(tmp_path / "model", old)
    add(tmp_path / "model", _with_weights(bad, tmp_path / "b", "b"))
    row = changes(tmp_path / "model").set_index("level").loc["verdict"]
    assert (row["causes"], row["reading"]) == ("weights;standard", "worse model")
    add(tmp_path / "rules", looser(tmp_path / "b", tmp_path / "loose-bad"))
    add(tmp_path / "rules", _with_weights(bad, tmp_path / "c", "c"))
    row = changes(tmp_path / "rules").set_index("level").loc["verdict"]
    assert (row["causes"], row["reading"]) == ("weights;standard", "stricter standard")


def test_without_the_numbers_before_nothing_is_put_down(tmp_path, good, bad) -> None:
    add(tmp_path, looser(_with_weights(good, tmp_path / "g", "a"), tmp_path / "loose"))
    for path in (tmp_path / "history" / STUDY / RELEASE / "evidence").iterdir():
        path.unlink()
    add(tmp_path, _with_weights(bad, tmp_path / "b", "b"))
    row = changes(tmp_path).set_index("level").loc["verdict"]
    assert row["reading"] == "not separable: the numbers of the judgement before were not kept"


def test_several_causes_are_named_and_none_is_chosen(tmp_path, good, bad) -> None:
    add(tmp_path, _with_weights(good, tmp_path / "g", "a"), Made(data={"screen": "1"}))
    add(tmp_path, _with_weights(bad, tmp_path / "b", "b"), Made(data={"screen": "2"}))
    row = changes(tmp_path).set_index("level").loc["verdict"]
    assert row["reading"] == "several causes: weights, data"
    assert "screen" in row["sentence"]
    assert "\n" not in row["sentence"]


def test_a_damaged_history_is_never_begun_again(tmp_path, good) -> None:
    add(tmp_path, good)
    path = tmp_path / "history" / STUDY / RELEASE / "history.json"
    path.write_text("{")
    with pytest.raises(StorageError, match="begin the history anew"):
        read_history(tmp_path, STUDY, RELEASE)


def test_a_history_altered_within_valid_json_is_refused(tmp_path, good, bad) -> None:
    add(tmp_path, good)
    add(tmp_path, bad)
    path = tmp_path / "history" / STUDY / RELEASE / "history.json"
    whole = json.loads(path.read_bytes())
    first, second = whole["entries"]
    for entries in ([second, first], [first], [first, second | {"code": {"analysis_21": "other"}}]):
        for form in (1, 2):  # the first carried no hash; one that does was not written as such
            path.write_text(json.dumps(whole | {"entries": entries, "format": form}))
            with pytest.raises(StorageError, match="altered after it was written"):
                read_history(tmp_path, STUDY, RELEASE)
    path.write_text(json.dumps(whole))  # the same content, spaced in another way
    assert [entry.name for entry in read_history(tmp_path, STUDY, RELEASE).entries] == [
        first["snapshot"],
        second["snapshot"],
    ]


def test_no_flipped_bit_of_a_history_is_carried_on(tmp_path, good, bad) -> None:
    add(tmp_path, good)
    add(tmp_path, bad)
    path = tmp_path / "history" / STUDY / RELEASE / "history.json"
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 200):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with pytest.raises(StorageError):
            read_history(tmp_path, STUDY, RELEASE)


def test_the_history_of_another_release_is_refused(tmp_path, good) -> None:
    add(tmp_path, good)
    folder = tmp_path / "history" / STUDY / RELEASE
    shutil.copytree(folder, folder.with_name("another"))
    with pytest.raises(StorageError, match=f"is the history of {RELEASE}"):
        read_history(tmp_path, STUDY, "another")


def test_a_history_from_before_it_carried_its_hash_goes_on(tmp_path, good, bad) -> None:
    add(tmp_path, good)
    path = tmp_path / "history" / STUDY / RELEASE / "history.json"
    whole = json.loads(path.read_bytes())
    del whole["content_sha256"]
    path.write_text(json.dumps(whole | {"format": 1}))
    add(tmp_path, bad)
    told = json.loads(path.read_bytes())
    assert (told["format"], len(told["entries"])) == (2, 2)
    assert len(read_history(tmp_path, STUDY, RELEASE).entries) == 2


def test_an_altered_snapshot_is_refused(tmp_path, good) -> None:
    add(tmp_path, good)
    (path,) = (tmp_path / "history" / STUDY / RELEASE / "snapshots").iterdir()
    path.write_text(path.read_text().replace("supported", "refuted"))
    with pytest.raises(StorageError, match="not what its name says"):
        read_history(tmp_path, STUDY, RELEASE)


def test_altered_evidence_is_refused(tmp_path, good, bad) -> None:
    add(tmp_path, good)
    (path,) = (tmp_path / "history" / STUDY / RELEASE / "evidence").iterdir()
    path.write_bytes(evidence_archive(bad))
    history = read_history(tmp_path, STUDY, RELEASE)
    with pytest.raises(StorageError, match="not what its name says"):
        history.evidence(history.entries[0])


def test_a_history_that_lost_its_list_is_not_begun_anew(tmp_path, good, bad) -> None:
    add(tmp_path, good)
    path = tmp_path / "history" / STUDY / RELEASE / "history.json"
    first = path.read_bytes()
    path.unlink()
    assert read_history(tmp_path, STUDY, RELEASE).entries == ()  # what a first write that was cut off leaves
    assert changes(tmp_path).empty
    path.write_bytes(first)
    add(tmp_path, bad)
    path.unlink()
    with pytest.raises(StorageError, match="its snapshots are not"):
        changes(tmp_path)


@pytest.mark.parametrize("entry", [{}, {"snapshot": "x"}, 3, None])
def test_an_entry_that_is_none_is_refused_with_its_file(tmp_path, good, entry) -> None:
    add(tmp_path, good)
    path = tmp_path / "history" / STUDY / RELEASE / "history.json"
    path.write_text(json.dumps({"format": 1, "study": STUDY, "release": RELEASE, "entries": [entry]}))
    with pytest.raises(StorageError, match=r"history\.json|snapshots"):
        read_history(tmp_path, STUDY, RELEASE)


def test_what_only_one_side_recorded_is_not_put_down_to_the_model(tmp_path, good, bad) -> None:
    add(tmp_path, _with_weights(good, tmp_path / "g", "a"))
    add(tmp_path, _with_weights(bad, tmp_path / "b", "b"), Made(code={"analysis_21": "1"}))
    row = changes(tmp_path).set_index("level").loc["verdict"]
    assert row["reading"] == "several causes: weights, code"


def test_versions_of_the_data_that_are_gone_are_an_error(tmp_path) -> None:
    from interp_assets.assets.history import _study_inputs

    with pytest.raises(StorageError, match="materialise study_inputs of bench again"):
        _study_inputs(tmp_path, STUDY)


@pytest.mark.parametrize(("origin", "label"), [("simulated", "simulated"), ("archived", "archived"), ("", "unstated")])
def test_a_claim_says_where_its_own_outcomes_come_from(tmp_path, good, bad, origin, label) -> None:
    import shutil

    later = shutil.copytree(bad, tmp_path / "later")
    content = json.loads((later / "claims.json").read_text())
    entry = content["claims"][0]
    entry["data_origin"] = origin
    (later / "claims.json").write_text(json.dumps(content))
    add(tmp_path, good)
    add(tmp_path, later, Made(data={"screen": "2"}))
    row = changes(tmp_path).set_index(["level", "item"]).loc[("claim", entry["id"])]
    assert row["data_origin"] == origin
    assert f"({label} outcomes)" in row["sentence"]


def test_a_ceiling_without_interval_has_none() -> None:
    ceiling = pd.DataFrame({"context": ["primary_screen:d"], "ceiling": [0.9], "ci_low": [math.nan], "ci_high": [None]})
    lines_of = reference_lines(ceiling, None)
    assert lines_of == {"ceiling": {"ceiling": 0.9, "ci_low": None, "ci_high": None}}
    canonical_json(lines_of)


def test_paired_difference_equals_a_naive_bootstrap(tmp_path, good, bad) -> None:
    add(tmp_path, good)
    add(tmp_path, bad, Made(data={"screen": "2"}))
    row = changes(tmp_path).set_index(["level", "item"]).loc[("criterion", "a")]
    assert row["interval"].startswith("paired over")
    part = row["effect"].removeprefix("AUROC of attention minus ").replace(" ", "_")
    values = []
    for folder in (good, bad):
        frame = pd.read_parquet(folder / "tables" / "perturbation_auroc.parquet")
        frame = frame[(frame["role"] == "primary_screen") & (frame["subset"] == "all")]
        wide = frame.pivot(index="perturbation", columns="score", values="auroc")
        values.append(wide["attention"] - wide[part])
    gap = (values[1] - values[0]).to_numpy()
    assert row["difference"] == pytest.approx(gap.mean(), abs=1e-12)
    rng = np.random.default_rng(1)
    means = [np.mean([gap[i] for i in rng.integers(0, gap.size, gap.size)]) for _ in range(4000)]
    spread = np.std(gap) / math.sqrt(gap.size)
    assert row["difference_low"] == pytest.approx(np.quantile(means, 0.025), abs=0.2 * spread + 1e-9)
    assert row["difference_high"] == pytest.approx(np.quantile(means, 0.975), abs=0.2 * spread + 1e-9)


def test_independent_interval_equals_the_normal_law_of_scipy() -> None:
    from scipy.stats import norm

    first, second = (
        Number("b", "x", "gain", value, value - half, value + half) for value, half in ((1, 0.3), (3, 0.4))
    )
    found = independent(first, second)
    z = norm.ppf(0.975)
    law = norm(2, math.hypot(0.3 / z, 0.4 / z))
    assert (found.low, found.high) == pytest.approx((law.ppf(0.025), law.ppf(0.975)))


def test_values_that_are_not_what_was_judged_are_not_paired() -> None:
    rows = [
        ("primary_screen", "d", f"p{i}", "all", s, v) for i in range(6) for s, v in (("attention", 0.7), ("mean", 0.6))
    ]
    frame = pd.DataFrame(rows, columns=["role", "dataset", "perturbation", "subset", "score", "auroc"])
    tables = {"perturbation_auroc": frame}
    assert perturbation_values(tables, Number("a", "mean", "", 0.1, 0, 0)) is not None
    assert perturbation_values(tables, Number("a", "mean", "", 0.2, 0, 0)) is None


def test_a_number_that_one_side_lacks_gives_no_difference() -> None:
    part = {"name": "mean", "outcome": "fail", "numbers": {"mean": 0.1, "ci_low": 0.0, "ci_high": 0.2}}
    found = difference("a", {"outcome": "not evaluable", "parts": []}, {"outcome": "fail", "parts": [part]})
    assert (found.new, found.interval) == (0.1, "")
    assert math.isnan(found.difference)


@pytest.mark.parametrize(
    ("old", "new", "way"),
    [
        ("supported", "refuted", "lost"),
        ("inconclusive", "refuted", "lost"),
        ("fail", "undecided", "gained"),
        ("not evaluable", "supported", "gained"),
        ("refuted", "not evaluable", "other"),
        ("absent", "pass", "gained"),
    ],
)
def test_direction(old, new, way) -> None:
    assert direction(old, new) == way


def test_lines_of_releases() -> None:
    hub = "https://hub/org/model"
    releases = {
        "uce-33": {"family": "x", "source": hub},
        "uce-aaaaaaa": {"family": "x", "source": hub},
        "tool-v9": {"family": "y"},
        "tool-v10": {"family": "y"},
        "tool-v11": {"family": "z"},
        "other": {"family": "y", "follows": "tool-v9"},
        "lonely": {"family": "y"},
        "a1": {"family": "q", "follows": "b1"},
        "b1": {"family": "q", "follows": "a1"},
    }
    found = lines(releases, ["uce-aaaaaaa", "uce-33"])
    told = {name: (pair.before, pair.rule) for name, pair in found.items()}
    assert told == {
        "uce-33": ("uce-aaaaaaa", SAME_SOURCE),
        "tool-v10": ("tool-v9", SAME_NAME),
        "other": ("tool-v9", STATED),
    }


def test_a_new_release_is_held_against_the_one_it_follows(tmp_path, good, bad) -> None:
    add(tmp_path, good)
    later = tmp_path / "later"
    _renamed(bad, later, "geneformer-small-4k")
    add(tmp_path, later, release="geneformer-small-4k")
    found = changes(tmp_path)
    assert set(found["compared_with"]) == {RELEASE}
    row = found.set_index("level").loc["verdict"]
    assert (row["release"], row["reading"], row["causes"]) == ("geneformer-small-4k", "worse model", "release")
    assert SAME_NAME in row["sentence"]


def _renamed(folder, target, name):
    import shutil

    shutil.copytree(folder, target)
    for document in _DOCUMENTS:
        path = target / f"{document}.json"
        path.write_text(path.read_text().replace(RELEASE, name))
    for table in ("evaluation", "control_outcomes"):
        path = target / "tables" / f"{table}.parquet"
        frame = pd.read_parquet(path)
        frame.replace(RELEASE, name, regex=True).to_parquet(path)


def test_parts_of_a_release_and_names_of_content() -> None:
    assert file_part("tokenizer/gene_median_dictionary.pkl") == "dictionary"
    assert len(digest(b"")) == 16


def test_code_that_judges_is_told_from_code_that_computes(tmp_path, good, bad) -> None:
    add(tmp_path, good, Made(code={"qc_verdict": "1", "analysis_21": "1"}))
    add(tmp_path, bad, Made(code={"qc_verdict": "1", "analysis_21": "2"}))
    entries = read_history(tmp_path, STUDY, RELEASE).entries
    found = causes(*entries)
    assert (found.names, found.numbers, found.rules) == (("code",), ("code",), False)
    add(tmp_path, good, Made(code={"qc_verdict": "2", "analysis_21": "2"}))
    entries = read_history(tmp_path, STUDY, RELEASE).entries
    found = causes(*entries[1:])
    assert (found.names, found.numbers, found.rules) == (("code",), (), True)
    assert entries[2].rejudged["claims"]["attention_is_regulatory"] == "refuted"


@pytest.mark.parametrize(
    ("better", "shown", "told"),
    [
        (False, True, "worse model"),
        (True, True, "better model"),
        (False, False, "other model, no difference shown"),
        (True, False, "other model, no difference shown"),
        (None, True, "other model"),
    ],
)
def test_a_model_is_called_worse_only_where_the_interval_shows_it(better: bool | None, shown: bool, told: str) -> None:
    found = Causes(("release", "weights"), judging_code=False, number_code=False)
    assert reading(found, "criterion", "fail", "undecided", None, "", better, shown) == told
