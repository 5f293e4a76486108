"""Causal networks: layouts, strict loading, blocks, interventions, against transformers and published sizes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from interp_assets.interventions.self_test import check_interventions
from interp_assets.models.adapter import TokenBatch, load_model
from interp_assets.models.families.causal_network import load_network, read_causal_config
from interp_assets.models.families.cell_sentences import SentenceRules, gene_of_tokens, read_tokenizer, sentence_tokens
from interp_assets.models.files.file_rules import ManifestError, MissingFileError
from interp_assets.models.files.releases import read_release
from interp_assets.models.interventions import Intervention, InterventionError, InterventionModel, capturing
from tests.unit.models import causal_folders as folders
from tests.unit.models import full_layout

BATCH = TokenBatch(tokens=np.array([[4, 9, 6, 11, 5, 8, 7], [6, 4, 10, 5, 0, 0, 0]]), lengths=np.array([7, 4]))
WRITERS = {"c2s": folders.write_c2s, "maxtoki": folders.write_maxtoki}


@pytest.fixture
def write(tmp_path, seal_release):
    """Function that writes a release of a family."""

    def made(family: str, **asked):
        return WRITERS[family](tmp_path / "releases" / f"{family}-x", seal_release, **asked)

    return made


def states_of(model, intervention=None, form="logsumexp"):
    """Embedding and hidden state behind every block."""
    blocks = model.blocks(BATCH, form=form)
    with model.intervening(intervention):
        found = [blocks.start()]
        for layer in range(model.describe().layers):
            found.append(blocks.step(layer, found[-1]))
    return found


def real(tensor):
    """Values at real positions of the batch."""
    return np.concatenate([tensor[row, : BATCH.lengths[row]].numpy() for row in range(2)])


@pytest.mark.parametrize("form", ["logsumexp", "softmax"])
@pytest.mark.parametrize(
    ("family", "asked"),
    [
        ("c2s", {}),
        ("c2s", {"use_parallel_residual": False, "rotary_pct": 1.0}),
        ("maxtoki", {}),
        ("maxtoki", {"num_key_value_heads": 1, "head_dim": 12}),
        ("maxtoki", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    ],
)
def test_blocks_and_prediction_equal_transformers(family, asked, form, write):
    import torch

    folder = write(family, **asked)
    model = load_model(read_release(folder))
    assert isinstance(model, InterventionModel)
    reference = folders.load_reference(folder)
    with torch.no_grad():
        mask = torch.arange(7)[None] < torch.from_numpy(BATCH.lengths)[:, None]
        out = reference(torch.from_numpy(BATCH.tokens), attention_mask=mask.long(), output_hidden_states=True)
    states = states_of(model, form=form)
    for layer in range(2):
        np.testing.assert_allclose(real(states[layer]), real(out.hidden_states[layer]), atol=5e-6, rtol=1e-5)
    output = model.output()
    assert (output is None) == (family == "c2s")
    if output is not None:
        logits = output.transform(states[-1]) @ output.weight.T + output.bias
        np.testing.assert_allclose(real(logits), real(out.logits), atol=5e-6, rtol=1e-5)
        assert model.gene_tokens(["CD3D", "CD3E"]) == [5, 4]
    else:
        last = model.network.final_layer_norm(states[-1])
        np.testing.assert_allclose(real(last), real(out.hidden_states[2]), atol=5e-6, rtol=1e-5)
        with pytest.raises(InterventionError, match="c2s writes a gene in several tokens"):
            model.gene_tokens(["CD3E"])


@pytest.mark.parametrize("family", ["c2s", "maxtoki"])
def test_later_tokens_and_padding_change_nothing_before_them(family, write):
    model = load_model(read_release(write(family)))
    states = states_of(model)[-1]
    alone = TokenBatch(tokens=BATCH.tokens[1:, :3], lengths=np.array([3]))
    blocks = model.blocks(alone, form="logsumexp")
    hidden = blocks.start()
    for layer in range(2):
        hidden = blocks.step(layer, hidden)
    np.testing.assert_allclose(states[1, :3].numpy(), hidden[0].numpy(), atol=2e-6)


@pytest.mark.parametrize("form", ["logsumexp", "softmax"])
@pytest.mark.parametrize("family", ["c2s", "maxtoki"])
def test_interventions_do_what_they_say_and_end(family, form, write):
    """Each against the reference network with weights changed so that the part cannot act; upstream bit for bit."""
    import torch

    folder = write(family)
    model = load_model(read_release(folder))
    check_interventions(model, BATCH, form)
    clean = states_of(model, form=form)
    reference = folders.load_reference(folder)
    core = reference.gpt_neox if family == "c2s" else reference.model
    width = core.config.hidden_size // 4
    with torch.no_grad():
        if family == "c2s":
            core.layers[1].attention.dense.weight[:, 2 * width : 3 * width] = 0
            core.layers[1].mlp.dense_4h_to_h.weight.zero_()
            core.layers[1].mlp.dense_4h_to_h.bias.zero_()
        else:
            core.layers[1].self_attn.o_proj.weight[:, 2 * width : 3 * width] = 0
            core.layers[1].mlp.down_proj.weight.zero_()
        expected = reference(torch.from_numpy(BATCH.tokens), output_hidden_states=True).hidden_states
    norm = core.final_layer_norm if family == "c2s" else core.norm
    changed = states_of(model, Intervention(zero=((1, 2),), mlp=(1,)), form)
    assert torch.equal(changed[0], clean[0])
    assert torch.equal(changed[1], clean[1])
    with torch.no_grad():
        found = norm(changed[2].double())
    np.testing.assert_allclose(real(found), real(expected[2]), atol=1e-5)
    assert np.abs(real(changed[2]) - real(clean[2])).max() > 1e-3
    assert all(torch.equal(a, b) for a, b in zip(states_of(model, form=form), clean, strict=True))


@pytest.mark.parametrize("family", ["c2s", "maxtoki"])
def test_uniform_attention_is_the_mean_over_what_a_position_sees(family, write):
    import torch

    folder = write(family)
    model = load_model(read_release(folder))
    contexts: dict[int, torch.Tensor] = {}
    every = tuple((0, head) for head in range(4))
    blocks = model.blocks(BATCH, form="logsumexp")
    with model.intervening(Intervention(uniform=every)), capturing(contexts.__setitem__):
        blocks.step(0, blocks.start())
    hidden = blocks.start()
    core = model.network.layers[0]
    with torch.inference_mode():
        normed = core.input_layernorm(hidden)
        if family == "c2s":
            value = core.attention.query_key_value(normed).view(2, 7, 4, 3, 8)[:, :, :, 2]
        else:
            value = core.self_attn.v_proj(normed).view(2, 7, 2, 8).repeat_interleave(2, dim=2)
    for row, length in enumerate(BATCH.lengths):
        for place in range(length):
            expected = value[row, : place + 1].mean(0)
            np.testing.assert_allclose(contexts[0][row, :, place].numpy(), expected.numpy(), atol=1e-6)


def altered(folder: Path, change, seal_release, **facts):
    """The folder with its tensors changed, sealed again."""
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    change(state)
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    manifest = json.loads((folder / "release.json").read_text())
    return read_release(seal_release(folder, **{key: manifest[key] for key in ("family",)}, **facts))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("gpt_neox.layers.1.mlp.dense_h_to_4h.bias"), "lacks 1 weights such as gpt_neox.layers.1.mlp"),
        (
            lambda s: s.update({"gpt_neox.layers.7.attention.dense.weight": s["embed_out.weight"]}),
            "holds 1 weights .*7",
        ),
        (lambda s: s.update({"adapter.weight": s["embed_out.weight"]}), "such as .*adapter.weight"),
        (lambda s: s.update({"gpt_neox.embed_in.weight": s["embed_out.weight"][:-1]}), "embed_in.weight has shape"),
        (lambda s: s.update({"embed_out.weight": s["embed_out.weight"][:, :-1]}), "embed_out.weight has shape"),
        (lambda s: s.update({"lm_head.weight": s["embed_out.weight"]}), "two heads"),
    ],
)
def test_weights_that_are_not_those_of_the_network_are_named(change, said, write, seal_release):
    release = altered(write("c2s"), change, seal_release)
    with pytest.raises(ManifestError, match=said):
        load_model(release)


def test_buffers_of_older_libraries_are_listed_and_not_loaded(write, seal_release):
    import torch

    def add(state):
        for layer in range(2):
            state[f"gpt_neox.layers.{layer}.attention.bias"] = torch.ones(1, 1, 64, 64, dtype=torch.bool)
            state[f"gpt_neox.layers.{layer}.attention.masked_bias"] = torch.tensor(-1e9)
            state[f"gpt_neox.layers.{layer}.attention.rotary_emb.inv_freq"] = torch.full((4,), 9.0)

    folder = write("c2s")
    before = states_of(load_model(read_release(folder)))
    model = load_model(altered(folder, add, seal_release))
    assert len(model.describe().facts["unexpected_weights"]) == 6
    assert all(torch.equal(a, b) for a, b in zip(states_of(model), before, strict=True))


def test_a_network_saved_without_head_or_prefix_is_read_and_predicts_nothing(write, seal_release):
    import torch

    folder = write("maxtoki")
    before = states_of(load_model(read_release(folder)))

    def bare(state):
        state.pop("lm_head.weight")
        for name in list(state):
            state[name.removeprefix("model.")] = state.pop(name)

    model = load_model(altered(folder, bare, seal_release))
    assert model.output() is None
    assert model.describe().facts["predicts_tokens"] is False
    assert all(torch.equal(a, b) for a, b in zip(states_of(model), before, strict=True))


def test_a_tied_head_is_the_embedding(write):
    import torch

    model = load_model(read_release(write("maxtoki", tie_word_embeddings=True)))
    assert torch.equal(model.output().weight, model.network.embed_tokens.weight)


@pytest.mark.parametrize(
    ("family", "config", "said"),
    [
        ("c2s", {"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"]}, "architecture 'gemma2'.*gpt_neox"),
        ("maxtoki", {"model_type": "gpt_neox"}, "architecture 'gpt_neox'.*supported here: llama"),
        ("maxtoki", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "rope_scaling is 'dynamic'"),
        ("maxtoki", {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "rope_parameters is 'yarn'"),
        ("maxtoki", {"num_key_value_heads": 3}, "num_key_value_heads 3"),
        ("maxtoki", {"vocab_size": 30}, "embed_tokens.weight has shape|vocab_size 30"),
        ("c2s", {"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ("c2s", {"hidden_act": "os.system"}, "hidden_act 'os.system'"),
    ],
)
def test_configurations_that_are_not_run_are_named(family, config, said, write, seal_release):
    folder = write(family)
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **config}))
    with pytest.raises(ManifestError, match=said):
        load_model(read_release(seal_release(folder, family=family)))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"prompt": 3}, "prompt 3 is no text"),
        ({"max_length": 65}, "max_length is 65.*1 up to 64"),
        ({"max_length": True}, "max_length is True"),
        ({"max_genes": 0}, "max_genes is 0"),
        ({"gene_key": "entrez"}, "gene_key is 'entrez'"),
    ],
)
def test_settings_of_a_manifest_that_are_none_are_named(facts, said, write, seal_release):
    folder = write("c2s")
    with pytest.raises(ManifestError, match=said):
        load_model(read_release(seal_release(folder, family="c2s", **facts)))


def test_tokenisers_that_do_not_fit_are_refused(write, seal_release, tmp_path):
    folder = write("c2s")
    with pytest.raises(ManifestError, match=r"has token .* but config.json states vocab_size 40"):
        read_tokenizer(folder / "tokenizer.json", 40)
    (folder / "tokenizer.json").write_text('{"model": {"type": "none"}}')
    with pytest.raises(ManifestError, match="is not a fast tokeniser"):
        load_model(read_release(seal_release(folder, family="c2s")))
    (folder / "tokenizer.json").rename(tmp_path / "tokenizer.pkl")
    with pytest.raises(MissingFileError, match=r"tokenizer\.json"):
        load_model(read_release(seal_release(folder, family="c2s")))


def test_sentences_are_cut_at_whole_genes_and_say_what_was_left_out(write, make_cells):
    folder = write("c2s", max_genes=3)
    model = load_model(read_release(folder))
    cells = make_cells(np.array([[2, 5, 0, 5, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]), list(folders.NAMES[:5]))
    encoded = model.encode(cells.counts, cells.genes)
    shown = [
        list(dict.fromkeys(encoded.column[a:b].tolist()))
        for a, b in zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True)
    ]
    assert shown == [[-1, 1, 3, 0], [-1], [-1, 0]]  # equal counts in the order of the columns
    assert encoded.left_out.tolist() == [1, 0, 0]
    tokenizer = read_tokenizer(folder / "tokenizer.json", 200)
    rules = SentenceRules(prompt=folders.PROMPT, max_tokens=4)
    with pytest.raises(ValueError, match=r"the prompt takes .* of 4 tokens"):
        sentence_tokens(cells.counts, np.arange(5, dtype=np.int32), list(folders.NAMES[:5]), tokenizer, rules)


def test_a_token_across_two_genes_is_refused():
    spans = np.array([[0, 3], [3, 8]])
    with pytest.raises(ValueError, match="two genes"):
        gene_of_tokens(spans, "Go: ", np.array([2, 3]))
    spans = np.array([[0, 0], [0, 6], [6, 10]])  # a start mark, and a token of prompt and first gene
    assert gene_of_tokens(spans, "Go: ", np.array([2, 3])).tolist() == [-1, 0, 1]


def test_published_sizes_are_those_of_the_architectures(tmp_path):
    """MaxToki-217M is published with 867,797,760 bytes of float32; C2S-Pythia-410m as 405 M parameters."""
    import torch

    shape = {"hidden_size": 1232, "num_hidden_layers": 11, "num_attention_heads": 8, "num_key_value_heads": 8}
    config = folders.causal_config("llama", 20275, **shape, intermediate_size=2464, max_position_embeddings=4096)
    assert 0 < 867_797_760 - 4 * _elements(tmp_path, config, ("llama",)) < 20_000  # the rest is the header
    shape = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    config = folders.causal_config("gpt_neox", 50304, **shape, max_position_embeddings=2048)
    assert round(_elements(tmp_path, config, ("gpt_neox",)) / 1e6) == 405
    assert torch.get_default_device().type == "cpu"


def _elements(tmp_path: Path, config, architectures) -> int:
    import torch
    from transformers import GPTNeoXForCausalLM, LlamaForCausalLM

    (tmp_path / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        kind = {"llama": LlamaForCausalLM, "gpt_neox": GPTNeoXForCausalLM}[config["model_type"]]
        model = kind(read_causal_config(tmp_path / "config.json", architectures))
    return sum(tensor.numel() for tensor in model.state_dict().values())


def test_dtype_is_one_of_two(write):
    with pytest.raises(ValueError, match="bfloat16 for screening"):
        load_network(read_release(write("maxtoki")), ("llama",), device="cpu", dtype="float16")
    assert load_model(read_release(write("c2s")), dtype="bfloat16").describe().dtype == "bfloat16"


@pytest.mark.mirror
def test_cells_of_maxtoki_are_those_of_geneformer_v2_with_its_real_dictionaries(tmp_path, data_mirror):
    from scipy.sparse import csr_matrix

    from interp_assets.models.families.geneformer import load_geneformer

    written = full_layout.write_folder(tmp_path / "geneformer-v2", data_mirror, "V2")
    geneformer = load_geneformer(read_release(full_layout.write_manifest(written)))
    folder = tmp_path / "maxtoki"
    folder.mkdir()
    shape = {"hidden_size": 16, "intermediate_size": 32, "max_position_embeddings": 16384}
    folders.save_network(folder, folders.causal_config("llama", 20275, **shape))
    for name in full_layout.dictionaries(data_mirror, "V2"):
        (folder / name).write_bytes((written / name).read_bytes())
    model = load_model(read_release(full_layout.write_manifest(folder, family="maxtoki")))
    # trajectories of several cells may be longer than a cell
    assert (model.describe().max_length, model.describe().vocabulary) == (4096, 20275)
    genes = np.array([*sorted(geneformer.vocabulary.tokens)[::4], "TP53"])
    counts = csr_matrix(np.random.default_rng(1).poisson(3.0, (2, genes.size)))
    ours, theirs = (one.encode(counts, genes, duplicates="sum") for one in (model, geneformer))
    for name in ("tokens", "column", "offsets", "left_out"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert ours.lengths.max() == 4096
    assert (ours.causal, theirs.causal) == (True, False)
    assert model.gene_tokens(["TP53"]) == geneformer.gene_tokens(["TP53"])
