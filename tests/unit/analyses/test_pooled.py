"""A row over several datasets names all of them and claims no more than the weakest may."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from interp_assets.analyses.pooled import pooled_source


def sample(dataset, origin="real", fit="full"):
    return SimpleNamespace(dataset=dataset, data_origin=origin, role_fit=fit, cells_hash=dataset * 3)


@pytest.mark.parametrize(
    ("origins", "weakest"),
    [
        (("real", "archived"), "archived"),
        (("simulated", "real"), "simulated"),
        (("semi_synthetic", "archived"), "semi_synthetic"),
        (("real", "real"), "real"),
    ],
)
def test_the_weakest_origin_is_told(origins, weakest):
    found = pooled_source(sample(name, origin) for name, origin in zip("ab", origins, strict=True))
    assert (found.dataset, found.data_origin, found.role_fit) == ("a + b", weakest, "full")


def test_one_partial_fit_makes_the_whole_partial():
    assert pooled_source([sample("a"), sample("b", fit="partial")]).role_fit == "partial"


def test_the_hash_depends_on_every_dataset():
    hashes = {pooled_source([sample(one), sample(other)]).cells_hash for one, other in ("ab", "ac", "cb")}
    assert len(hashes) == 3
    assert all(len(each) == 64 for each in hashes)


def test_one_dataset_stands_for_itself_in_its_weaker_role():
    strong, weak = sample("a"), sample("a", fit="partial")
    assert pooled_source([strong]) is strong
    assert pooled_source([strong, weak]) is weak
    assert pooled_source([weak, strong]) is weak
