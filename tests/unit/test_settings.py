"""Study files: what is accepted, and that a refusal names file, key and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from interp_assets.settings import SettingsError, load_study, studies, study_files

GOOD = """
title: A study
primary_reference: trrust_human
roles:
  primary_screen: {dataset: mine, role_fit: partial, note: a stand-in}
  tissues[1]: other
battery: {bootstrap: 50, boosting: {leaves: 7}}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_study_reads_back_with_defaults_for_what_it_leaves_out(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, GOOD), frozenset({"mine", "other", "trrust_human"}))
    assert study.name == "mine"
    assert study.datasets == ("mine", "other")
    assert study.roles["primary_screen"].role_fit == "partial"
    assert study.battery.bootstrap == 50
    assert dict(study.battery.boosting) == {"iterations": 60, "learning_rate": 0.15, "leaves": 7}
    assert study.battery.curveball_networks == 200
    assert study.references == ("trrust_human",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("roles: [", "cannot be read as YAML"),
        ("- a list", "expected a mapping"),
        (GOOD + "colour: red\n", "unknown key(s) colour"),
        (GOOD.replace("title: A study", ""), "key `title` is missing"),
        (GOOD.replace("partial", "good"), "role_fit 'good'"),
        (GOOD.replace("tissues[1]", "Tissue 1"), "no role name"),
        (GOOD.replace("other", "unheard_of"), "which no dataset file describes"),
        (GOOD.replace("trrust_human", "hearsay"), "names hearsay, which no dataset file describes"),
        (GOOD + "references: [planted, rumours]\n", "names rumours, which no dataset file describes"),
        ("title: A\nprimary_reference: planted\nroles: mine\n", "`roles` must map"),
        ("title: A\nprimary_reference: planted\nroles:\n", "`roles` must map"),
        (GOOD.replace("bootstrap: 50", "bootstrap: many"), "battery.bootstrap is 'many'"),
        (GOOD.replace("bootstrap: 50", "bootstraps: 50"), "unknown key(s) bootstraps"),
        (
            GOOD.replace("tissues[1]", "layer_selection") + "compared_screens: [layer_selection]\n",
            "`compared_screens` names layer_selection",
        ),
    ],
)
def test_a_bad_study_is_refused_with_the_file_and_the_key(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as refusal:
        load_study(path, frozenset({"mine", "other", "trrust_human"}))
    assert said in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_the_shipped_studies_name_declared_datasets_only() -> None:
    from interp_assets.cells.datasets import load_datasets

    known = frozenset(load_datasets())
    for path in study_files(None).values():
        load_study(path, known)


def test_studies_for_tests_stay_out_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTERP_STUDIES", raising=False)
    assert set(studies()) == {"demo", "bench"}
    monkeypatch.setenv("INTERP_STUDIES", "tiny")
    assert set(studies()) == {"tiny"}
    monkeypatch.setenv("INTERP_STUDIES", "nowhere")
    with pytest.raises(SettingsError, match="unknown study nowhere"):
        studies()
