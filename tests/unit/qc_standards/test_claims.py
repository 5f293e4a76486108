import copy

import pytest
import yaml

from qc_standards.claims import (
    CLAIMS_FILE,
    ClaimsError,
    EvidenceLevel,
    claims_registry,
    expectation,
    read_registry,
    required_controls,
    words_above,
)
from qc_standards.criteria import CRITERIA
from qc_standards.registry import RegistryError
from qc_standards.standards import shipped_standards


def test_shipped_claims_are_complete():
    registry = claims_registry()
    assert registry.headline.id == "attention_is_regulatory"
    assert registry.headline.criteria == ("a", "b", "c", "d")
    assert registry.headline.evidence_level is EvidenceLevel.CAUSAL
    assert {claim.published_claim for claim in registry.claims.values()} == {None, 6, 8, 9, 14}
    assert set(registry.criteria) == set(CRITERIA)
    for claim in registry.claims.values():
        assert claim.tests
        assert claim.polarity
        assert "control-planted" in claim.controls
        assert set(claim.standards) <= set(shipped_standards())


def test_every_named_standard_is_a_critical_validity_one():
    for claim in claims_registry().claims.values():
        for name in claim.standards:
            assert shipped_standards()[name].kind == "validity"
            assert shipped_standards()[name].severity == "critical"


def test_controls_are_looked_up_by_release_name():
    assert expectation("geneformer-small-2k.shuffled").id == "{release}.shuffled"
    assert expectation("control-planted").passes == ("a", "b", "c", "d")
    assert required_controls("x") == ("control-planted", "control-coexpression", "x.shuffled")
    with pytest.raises(ClaimsError, match="not a declared control"):
        expectation("geneformer-small-2k")


def bend(tmp_path, change):
    content = yaml.safe_load(CLAIMS_FILE.read_text())
    change(content)
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["claims"][1].update(sentence="Attention drives expression."), "worded above"),
        (lambda c: c["claims"][1].update(criteria=["z"]), "unknown or no criteria"),
        (lambda c: c["claims"][1].update(criteria=[]), "none named"),
        (lambda c: c["criteria"]["a"].update(tests=["A99.9"]), r"undeclared tests: A99\.9"),
        (
            lambda c: c["criteria"]["a"].update(tests=["A21.1", "A37.3"]),
            r"A37\.3, which read no primary_screen",
        ),
        (lambda c: c["claims"][1].update(headline=True), "exactly one headline"),
        (lambda c: c["families"]["A"].update(size=12), "families"),
        (lambda c: c["claims"][1].update(controls=["control-nothing"]), "undeclared controls"),
        (lambda c: c["controls"][0].update(passes=["q"]), "undeclared claim or criterion"),
        (lambda c: c["controls"][0].update(verdict="refuted"), "either"),
        (lambda c: c["claims"].append(copy.deepcopy(c["claims"][0])), "declared twice"),
    ],
)
def test_a_contradictory_registry_is_refused(tmp_path, change, message):
    with pytest.raises(RegistryError, match=message):
        read_registry(bend(tmp_path, change))


@pytest.mark.parametrize(
    ("text", "level", "said"),
    [
        ("Attention recovers the reference network.", "decoding", ()),
        ("Attention recovers it because it is dense.", "decoding", ()),
        ("Attention ranks responders to perturbations.", "decoding", ("perturb",)),
        ("Attention ranks responders to perturbations.", "intervention_consistent", ()),
        ("Attention CONTROLS\nthe cell.", "intervention_consistent", ("controls the",)),
        ("A gene-regulatory network.", "intervention_consistent", ("gene regulatory network",)),
        ("Every model agrees that heads cause it.", "decoding", ("every model", "cause")),
        ("Attention drives expression in a gene regulatory network.", "causal", ()),
    ],
)
def test_words_that_say_more_than_their_level(text, level, said):
    assert tuple(word for word, _ in words_above(text, EvidenceLevel(level))) == said
