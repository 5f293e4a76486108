"""Committed lists of gene symbols, one a line."""

from __future__ import annotations

from pathlib import Path

BUILT_IN = Path(__file__).resolve().parent.parent / "panels"


def read_panel(name: str, config_dir: Path | None = None) -> tuple[str, ...]:
    """Symbols of ``panels/<name>.txt`` in file order; a user's folder wins over the built-in one.

    Raises
    ------
    ValueError
        If there is no such panel, it is empty, or it repeats a symbol.
    """
    folders = [BUILT_IN] if config_dir is None else [config_dir / "panels", BUILT_IN]
    path = next((folder / f"{name}.txt" for folder in folders if (folder / f"{name}.txt").is_file()), None)
    if path is None:
        known = sorted(found.stem for folder in folders for found in folder.glob("*.txt"))
        raise ValueError(f"no panel {name!r} in {folders[0]}; known: {', '.join(known)}. Correct `universe.panel`.")
    genes = tuple(path.read_text(encoding="utf-8").split())
    repeated = sorted({gene for gene in genes if genes.count(gene) > 1})
    if repeated or not genes:
        problem = f"repeats {', '.join(repeated[:3])}" if repeated else "is empty"
        raise ValueError(f"{path}: the panel {problem}. List every symbol once, one a line.")
    return genes
