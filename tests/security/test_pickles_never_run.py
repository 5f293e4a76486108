"""A pickle that would write a file is put wherever a file may be given; the file never appears."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interp_assets.cells.dataset_records import CellsFormat, DatasetSpec
from interp_assets.cells.read_cells import Where, read_cells
from interp_assets.models.edge_tables.reading import load_edge_table
from interp_assets.models.files.checkpoints import read_dictionary, read_state_dict
from qc_standards.results import ResultsError, read_results
from qc_standards.user_tables import read_table

SPEC = DatasetSpec(
    id="x", title="t", kind="cells", species="human", data_origin="real", licence="l", file=Path("x.yaml")
)


class Payload:
    """Object whose pickle writes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.write_text, (self.mark, "taken")


def plain(folder: Path, content: bytes, name: str) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def of_torch(folder: Path, content: bytes, name: str = "pytorch_model.bin") -> Path:
    """The layout of `torch.save`, with the pickle as its data."""
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for member, held in (("a/data.pkl", content), ("a/version", b"3"), ("a/byteorder", b"little")):
            archive.writestr(member, held)
    return path


def of_numpy(folder: Path, content: bytes, name: str) -> Path:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    if name.endswith(".npy"):
        return plain(folder, head.getvalue() + content, name)
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("x.npy", head.getvalue() + content)
    return folder / name


def of_h5ad(folder: Path, content: bytes, name: str) -> Path:
    """Texts that are pickles, as pytables and older anndata wrote objects, in place of the table and the matrix."""
    path = folder / name
    frame = pd.DataFrame({"source": ["A"], "target": ["B"], "score": [1.0]})
    anndata.AnnData(np.eye(2, dtype=np.float32), uns={"prediction": frame}).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        for place in ("uns/prediction/score", "X"):
            del file[place]
            held = file.create_dataset(place, data=np.void(content))
            held.attrs.update({"PSEUDOATOM": "object", "CLASS": "VLARRAY", "encoding-type": "pickle"})
    return path


def of_parquet(folder: Path, content: bytes, name: str) -> Path:
    """A column of the extension type that pyarrow once unpickled by itself, and pickled objects in pandas metadata."""
    kind = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": content}
    field = pa.field("score", pa.float64(), metadata=kind)
    schema = pa.schema([pa.field("source", pa.string()), pa.field("target", pa.string()), field])
    table = pa.table([["A"], ["B"], [1.0]], schema=schema.with_metadata({b"pandas": content}))
    pq.write_table(table, folder / name)
    return folder / name


Attack = tuple[Callable[..., Path], str, Callable[[Path], object]]
ATTACKS: dict[str, Attack] = {
    "torch checkpoint": (of_torch, "pytorch_model.bin", read_state_dict),
    "torch checkpoint, pickle alone": (plain, "best_model.pt", read_state_dict),
    "safetensors": (plain, "model.safetensors", read_state_dict),
    "gene dictionary": (plain, "token_dictionary.pkl", read_dictionary),
    "gene dictionary, JSON": (plain, "token_dictionary.json", read_dictionary),
    "edge table, h5ad": (of_h5ad, "edges.h5ad", load_edge_table),
    "edge table, parquet": (of_parquet, "edges.parquet", load_edge_table),
    "edge table, text": (plain, "edges.csv", load_edge_table),
    "cells, h5ad": (of_h5ad, "cells.h5ad", lambda path: read_cells(CellsFormat(), Where(SPEC, path), None, None, None)),
    "user's table, h5ad": (of_h5ad, "t.h5ad", read_table),
    "user's table, parquet": (of_parquet, "t.parquet", read_table),
    "stored array": (of_numpy, "score.npy", lambda path: np.load(path, allow_pickle=False)),
    "stored archive": (of_numpy, "score.npz", lambda path: np.load(path, allow_pickle=False)["x"]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("what", ATTACKS)
def test_a_pickle_never_runs(tmp_path, what, protocol, tally):
    mark = tmp_path / "mark"
    content = pickle.dumps(Payload(mark), protocol=protocol)
    wrap, name, read = ATTACKS[what]
    path = wrap(tmp_path, content, name)
    refused = "right"
    try:
        read(path)
    except (ValueError, OSError):
        refused = "refused"
    assert not mark.exists(), f"{what}: the pickle was run"
    tally("security", f"a pickle that writes a file: {what}", refused)


def test_the_payload_would_run_where_somebody_unpickled_it(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["tests.parquet", "tables/evaluation.parquet"])
def test_a_pickle_in_a_result_folder_never_runs(tmp_path, name, tally):
    mark = tmp_path / "mark"
    folder = tmp_path / "results"
    (folder / "tables").mkdir(parents=True)
    of_parquet(folder, pickle.dumps(Payload(mark)), name)
    with pytest.raises(ResultsError):
        read_results(folder)
    assert not mark.exists()
    tally("security", "a pickle that writes a file: result folder", "refused")


def test_a_pickle_among_the_files_of_a_release_is_left_where_it_is(tmp_path, tally):
    """Left-overs of training are never opened, and a release that lists one as weights is refused."""
    from interp_assets.models.files.file_rules import ReleaseFileError
    from interp_assets.models.files.releases import read_release

    mark = tmp_path / "mark"
    folder = tmp_path / "model"
    folder.mkdir()
    content = pickle.dumps(Payload(mark))
    for name in ("training_args.bin", "optimizer.pt", "pytorch_model.bin", "dictionary.pkl"):
        plain(folder, content, name)
    (folder / "release.json").write_text(json.dumps({"name": "m", "family": "geneformer", "files": "all"}))
    with pytest.raises(ReleaseFileError):
        read_release(folder)
    assert not mark.exists()
    tally("security", "a pickle that writes a file: release folder", "refused")
