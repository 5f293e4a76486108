"""Published Geneformer checkpoints: sizes of the weights, the real dictionaries, and tokens of cells under them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from interp_assets.models.families import geneformer_vocabulary
from interp_assets.models.families.geneformer import load_geneformer, read_vocabulary
from interp_assets.models.files.checkpoints import ManifestError
from interp_assets.models.files.releases import read_release
from tests.unit.models import full_layout

VERSIONS = ("V1", "V2")
SPECIALS = {"V1": ["<pad>", "<mask>"], "V2": ["<pad>", "<mask>", "<cls>", "<eos>"]}


@pytest.mark.parametrize("checkpoint", full_layout.CHECKPOINTS, ids=lambda checkpoint: checkpoint.name)
def test_published_shapes_have_the_published_sizes(checkpoint, tmp_path):
    """Tensors, elements and, to the byte, the size of the weights file, built without memory."""
    import torch
    from transformers import BertForMaskedLM

    from interp_assets.models.families.bert_blocks import read_bert_config

    shape = {
        "num_hidden_layers": checkpoint.layers,
        "num_attention_heads": checkpoint.heads,
        "hidden_size": checkpoint.width,
        "intermediate_size": checkpoint.inner,
    }
    content = full_layout.published_config(checkpoint.version, **shape)
    (tmp_path / "config.json").write_text(json.dumps(content))
    config = read_bert_config(tmp_path / "config.json", content["vocab_size"])
    with torch.device("meta"):
        model = BertForMaskedLM(config)
    stored = {name: tensor for name, tensor in model.state_dict().items() if "decoder" not in name}
    assert len(stored) == checkpoint.tensors
    assert sum(tensor.numel() for tensor in stored.values()) == checkpoint.elements
    if checkpoint.size is not None:
        buffers = {"bert.embeddings.position_ids": 2048} if checkpoint.version == "V1" else {}
        assert safetensors_size({name: tuple(held.shape) for name, held in stored.items()}, buffers) == checkpoint.size


def safetensors_size(shapes, buffers):
    """Bytes of a safetensors file of float32 tensors and int64 buffers of one row, by the definition of the format."""
    entries, end = {"__metadata__": {"format": "pt"}}, 0
    wide = [(name, "I64", [1, size], 8 * size) for name, size in buffers.items()]
    plain = [(name, "F32", list(shape), 4 * int(np.prod(shape))) for name, shape in sorted(shapes.items())]
    for name, kind, shape, size in (*wide, *plain):
        entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    header = len(json.dumps(entries, separators=(",", ":")))
    return 8 + header + -header % 8 + end


@pytest.fixture(scope="module")
def published(tmp_path_factory, data_mirror):
    """Function that gives the verified release of a version, written once."""
    written = {}

    def release(version):
        if version not in written:
            folder = tmp_path_factory.mktemp("hub") / f"geneformer-{version.lower()}"
            full_layout.write_folder(folder, data_mirror, version)
            written[version] = read_release(full_layout.write_manifest(folder))
        return written[version]

    return release


def copied(release, folder):
    """Files of a release in a folder of their own."""
    shutil.copytree(release.folder, folder)
    return folder


@pytest.fixture(scope="module")
def models(published):
    """Function that gives the loaded model of a version."""
    loaded = {}

    def model(version):
        if version not in loaded:
            loaded[version] = load_geneformer(published(version))
        return loaded[version]

    return model


@pytest.mark.mirror
@pytest.mark.parametrize(("version", "size"), [("V1", 25_426), ("V2", 20_275)])
def test_real_dictionaries_become_a_vocabulary(models, data_mirror, version, size):
    vocabulary, facts = models(version).vocabulary, models(version).describe()
    rows = full_layout.table(data_mirror, version, "tokens_medians")
    genes = rows[rows["nonzero_median"] != ""]
    assert (vocabulary.size, facts.vocabulary) == (size, size)
    assert vocabulary.specials == {name: number for number, name in enumerate(SPECIALS[version])}
    assert vocabulary.tokens == dict(zip(genes["ensembl_id"], genes["token_id"].astype(int), strict=True))
    assert all(type(token) is int for token in vocabulary.tokens.values())
    assert vocabulary.medians == dict(zip(genes["ensembl_id"], genes["nonzero_median"].astype(float), strict=True))
    assert (facts.mask, facts.padding, facts.max_length) == (1, 0, {"V1": 2048, "V2": 4096}[version])
    unexpected = {"V1": ["bert.embeddings.position_ids"], "V2": []}
    assert facts.facts["unexpected_weights"] == unexpected[version]


@pytest.mark.mirror
def test_names_of_genes_in_the_real_dictionaries(models):
    later, early = models("V2").vocabulary, models("V1").vocabulary
    tp53 = "ENSG00000141510"
    names = ["TP53", "tp53", tp53, f"{tp53}.18", tp53.lower(), "P53"]  # P53 is an alias that only V2 maps
    assert [later.key(name) for name in names] == [tp53] * 6
    assert [early.key(name) for name in names] == [tp53] * 5 + [None]
    assert [later.key(name) for name in ("no such gene", "<cls>", "<pad>", "")] == [None] * 4
    assert early.key("<MASK>") is None
    # Gata1 and Trp53 are mouse genes: written in mixed case a name has to stand in a dictionary as it is written
    mixed = {"GATA1": True, "Gata1": False, "Trp53": False, "C1orf50": True, "C10orf10": True, "Tp53": False}
    assert {name: later.key(name) is not None for name in mixed} == mixed
    # a dotted symbol is no versioned id: its stem may be another gene
    assert later.key("TP53.1") is None


@pytest.mark.mirror
def test_a_symbol_stands_for_its_gene_before_an_alias_does(models):
    genes = np.array(["P53", "TP53", "GATA1"])
    model = models("V2")
    assert model.known(genes).tolist() == [False, True, True]
    assert model.collapsed(genes).tolist() == [True, False, False]
    summed = model.encode(csr_matrix([[2, 3, 4]]), genes)
    once = model.encode(csr_matrix([[5, 4]]), genes[1:])
    assert np.array_equal(summed.tokens, once.tokens)
    assert set(summed.column) == {-1, 1, 2}


@pytest.mark.mirror
def test_the_very_same_name_twice_is_a_fault_of_the_data(models):
    with pytest.raises(ValueError, match=r"same name \(TP53\)"):
        models("V2").encode(csr_matrix([[2, 3]]), np.array(["TP53", "TP53"]))


def naive_tokens(counts, genes, tables, version, n_counts=None):
    """Tokens of each cell and expressed genes left out, straight from the published description, in plain Python."""
    ids = {gene: int(token) for gene, token in tables["token_dictionary"].items()}
    medians = {gene: float(median) for gene, median in tables["gene_median_dictionary"].items()}
    mapping = {name.upper(): gene for name, gene in tables["gene_name_id_dict"].items()}
    mapping.update((name.upper(), gene) for name, gene in tables["ensembl_mapping_dict"].items())
    tokens, left_out = [], []
    for number, row in enumerate(counts):
        total = float(sum(row)) if n_counts is None else float(n_counts[number])
        collapsed = {}
        for name, count in zip(genes, row, strict=True):
            target = mapping.get(name.split(".")[0].upper() if name.startswith("ENSG") else name.upper())
            if target in ids:
                collapsed[target] = collapsed.get(target, 0) + int(count)
        values = [
            (-(count / total * 10_000 / medians[gene]), ids[gene]) for gene, count in collapsed.items() if count > 0
        ]
        ranked = [token for _, token in sorted(values)]
        room = 2_048 if version == "V1" else 4_094
        kept = ranked[:room]
        tokens.append(kept if version == "V1" else [2, *kept, 3])
        left_out.append(len(ranked) - len(kept))
    return tokens, left_out


def measured(tables, rng, known):
    """Measured names in random order: symbols, aliases of some of the same genes, versioned ids, unknown names."""
    ids = set(tables["token_dictionary"])
    names = [name for name, gene in sorted(tables["gene_name_id_dict"].items()) if gene in ids]
    symbols = rng.choice(names, known, replace=False).tolist()
    chosen = {tables["gene_name_id_dict"][name] for name in symbols}
    mapped = [name for name, gene in tables["ensembl_mapping_dict"].items() if gene in chosen]
    aliases = sorted({name for name in mapped if not name.startswith("ENSG")} - {name.upper() for name in symbols})
    aliases = rng.choice(aliases, 200, replace=False).tolist() if aliases else []
    others = sorted(gene for gene in ids if gene.startswith("ENSG") and gene not in chosen)
    versioned = [f"{gene}.{rng.integers(1, 30)}" for gene in rng.choice(others, 50, replace=False)]
    genes = [*symbols, *aliases, *versioned, *(f"unknown-{number}" for number in range(100))]
    return np.array(genes)[rng.permutation(len(genes))]


@pytest.mark.mirror
@pytest.mark.parametrize(("version", "known"), [("V1", 5_000), ("V2", 8_000)])
def test_tokens_are_those_of_the_description(models, data_mirror, version, known):
    """Symbols, aliases and versioned ids, collapsed, scaled, ranked and cut; many ties, one cell of each depth."""
    rng = np.random.default_rng(4)
    files = full_layout.dictionaries(data_mirror, version)
    tables = {name.rsplit("_", 1)[0]: content for name, content in files.items()}
    genes = measured(tables, rng, known)
    depth = np.array([0.001, 0.02, 0.2, 0.5, 0.9])[:, None]
    counts = rng.poisson(2.0, (5, genes.size)) * (rng.random((5, genes.size)) < depth)
    encoded = models(version).encode(csr_matrix(counts), genes)
    expected, left_out = naive_tokens(counts, genes.tolist(), tables, version)
    found = [encoded.tokens[a:b].tolist() for a, b in zip(encoded.offsets, encoded.offsets[1:], strict=False)]
    assert found == expected
    assert encoded.left_out.tolist() == left_out
    assert left_out[0] == 0 < left_out[-1]
    assert max(encoded.lengths) == {"V1": 2_048, "V2": 4_096}[version]
    # ranks do not depend on the totals that obs may state: they scale a whole cell
    assert naive_tokens(counts, genes.tolist(), tables, version, n_counts=[1024, 4096, 8192, 512, 2048])[0] == [
        *naive_tokens(counts, genes.tolist(), tables, version, n_counts=[1.0] * 5)[0]
    ]


@pytest.mark.mirror
def test_versions_rank_alike_where_their_dictionaries_agree(published, models, tmp_path, data_mirror):
    """V2's folder with V1's medians, on genes that both know: specials aside the same ranks of the same genes."""
    early = models("V1")
    folder = copied(published("V2"), tmp_path / "agreeing")
    rows = full_layout.dictionaries(data_mirror, "V2")
    file = "gene_median_dictionary_gc104M.pkl"
    medians = {gene: early.vocabulary.medians.get(gene, median) for gene, median in rows[file].items()}
    full_layout.write_pickle(folder / file, {gene: np.float64(median) for gene, median in medians.items()})
    later = load_geneformer(read_release(full_layout.write_manifest(folder)))
    shared = sorted(set(early.vocabulary.tokens) & set(later.vocabulary.tokens))
    assert len(shared) == 19_623
    rng = np.random.default_rng(1)
    genes = rng.choice(shared, 1_500, replace=False)
    counts = csr_matrix(rng.poisson(1.0, (20, genes.size)))
    old, new = early.encode(counts, genes), later.encode(counts, genes)
    assert np.array_equal(old.column, new.column[new.column >= 0])


@pytest.mark.mirror
def test_dictionaries_of_one_version_do_not_serve_weights_of_the_other(published, tmp_path):
    folder = copied(published("V2"), tmp_path / "mixed")
    for path in folder.glob("*_gc104M.pkl"):
        path.unlink()
    for path in published("V1").folder.glob("*_gc30M.pkl"):
        shutil.copy(path, folder)
    release = read_release(full_layout.write_manifest(folder))
    with pytest.raises(ManifestError, match=r"vocab_size 20275, but the token dictionary has 25426 .*gc30M"):
        load_geneformer(release)
    # the dictionary and the configuration changed together: the weights still tell
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 25_426}))
    with pytest.raises(ManifestError, match=r"bert\.embeddings\.word_embeddings\.weight has shape \(20275, 16\)"):
        load_geneformer(read_release(full_layout.write_manifest(folder)))


@pytest.mark.mirror
def test_without_a_dictionary_of_names_symbols_come_from_the_gene_table(published, tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_STORE", str(tmp_path / "store"))
    folder = copied(published("V2"), tmp_path / "unnamed")
    for path in (*folder.glob("ensembl_mapping*"), *folder.glob("gene_name_id*")):
        path.unlink()
    release = read_release(full_layout.write_manifest(folder))
    vocabulary = read_vocabulary(release)
    assert vocabulary.key("TP53") == vocabulary.key("ENSG00000141510.2") == "ENSG00000141510"
    assert "gencode44_human" in vocabulary.named_by
    assert len(set(vocabulary.mapping.values())) > 19_900
    early = copied(published("V1"), tmp_path / "ids-only")  # its mapping holds ids alone
    (early / "gene_name_id_dict_gc30M.pkl").unlink()
    assert "gencode44_human" in read_vocabulary(read_release(full_layout.write_manifest(early))).named_by
    monkeypatch.setattr("interp_assets.cells.sources.MIRROR_VARIABLE", "INTERP_NO_SUCH_VARIABLE")
    monkeypatch.setenv("INTERP_DATA_WHEELS", str(tmp_path))
    monkeypatch.setenv("INTERP_OFFLINE", "1")
    alone = geneformer_vocabulary.read_vocabulary(release)
    assert alone.key("TP53") is None
    assert alone.key("ENSG00000141510") == "ENSG00000141510"
    assert "not available" in alone.named_by
