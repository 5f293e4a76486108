"""Sections of a dataset's YAML, each read into its frozen record; every refusal names the file and the key."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from interp_assets.cells.dataset_records import (
    LOCKED,
    CellsFormat,
    DownloadSource,
    GuidesFormat,
    GuideTableFormat,
    KeepRule,
    LabelsFormat,
    MirrorSource,
    NetworkFormat,
    OutcomeFormat,
    PublishedContext,
    Source,
    UniverseRule,
    VocabularyFormat,
    WheelSource,
)
from interp_assets.cells.declared import Declaration
from interp_assets.cells.differential import LabelRule
from interp_assets.cells.panels import read_panel

LABELS = "labels"  # our column of labels read by `cells.labels`
CONTROL = "control"
GUIDE_KINDS = ("target", "non_targeting", "other")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")


def check_address(url: str) -> None:
    """Return only if an address may be read: https, or http on this machine.

    Raises
    ------
    ValueError
        Naming the address and what is allowed.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname in LOOPBACK:
        return
    raise ValueError(f"is {url!r}; only https is read (http from {LOOPBACK[0]} alone).")


def provenance(top: Declaration) -> dict[str, str]:
    """Section ``provenance``: texts by text."""
    found = top.mapping("provenance")
    if not found or not all(isinstance(value, str) for value in found.values()):
        raise top.error("provenance", "must map texts such as study, url, commit to texts.")
    return found


def sources(top: Declaration, required: bool) -> tuple[Source, ...]:
    """Section ``sources``: where the file may lie, first match wins."""
    found = tuple(_source(item) for item in top.sections("sources"))
    if required and not found:
        raise top.error("sources", "lists nothing. Give at least one of mirror, wheel, download.")
    return found


def _source(item: Declaration) -> Source:
    kinds = item.keys()
    if len(kinds) != 1 or kinds[0] not in ("mirror", "wheel", "download"):
        raise item.error("", f"must hold exactly one of mirror, wheel, download; found {', '.join(kinds)}.")
    body = item.section(kinds[0])
    source = {"mirror": _mirror, "wheel": _wheel, "download": _download}[kinds[0]](body)
    body.finish()
    return source


def _mirror(body: Declaration) -> Source:
    sha256 = _digest_or_lock(body)
    size = body.integer("size", 0 if sha256 == LOCKED else None, minimum=1)
    return MirrorSource(path=_relative(body, "path"), sha256=sha256, size=size)


def _wheel(body: Declaration) -> Source:
    members = body.texts("members")
    if not members:
        raise body.error("members", "lists nothing. Name the member of the wheel.")
    return WheelSource(
        wheel=_relative(body, "file"),
        wheel_sha256=_digest(body, "wheel_sha256"),
        members=members,
        sha256=_digest(body, "sha256"),
        size=body.integer("size", minimum=1),
    )


def _download(body: Declaration) -> Source:
    sha256 = _digest_or_lock(body)
    url, md5 = body.text("url"), body.text("md5", "")
    try:
        check_address(url)
    except ValueError as error:
        raise body.error("url", str(error)) from error
    if md5 and not _MD5.fullmatch(md5):
        raise body.error("md5", f"is {md5!r}; give the 32 lower-case hexadecimal digits that the repository shows.")
    source = DownloadSource(
        url=url,
        sha256=sha256,
        size=body.integer("size", 0 if sha256 == LOCKED else None, minimum=1),
        about=body.integer("about", 0),
        md5=md5,
        name=_relative(body, "name") if body.has("name") else "",
    )
    if not source.file_name:
        raise body.error("name", "is missing: the address does not end in the name of a file.")
    if source.size and source.about:
        raise body.error("about", "is a rough size, and `size` an exact one. Give one of them.")
    return source


def _digest_or_lock(body: Declaration) -> str:
    return body.text("sha256") if body.value("sha256") == LOCKED else _digest(body, "sha256")


def _digest(body: Declaration, key: str) -> str:
    found = body.text(key)
    if not _SHA256.fullmatch(found):
        raise body.error(key, f"is {found!r}; give the 64 lower-case hexadecimal digits that `sha256sum` prints.")
    return found


def _relative(body: Declaration, key: str) -> str:
    found = body.text(key)
    if Path(found).is_absolute() or ".." in Path(found).parts:
        raise body.error(key, f"is {found!r}; give a path inside the folder, without `..`.")
    return found


def cells_format(body: Declaration) -> CellsFormat:
    """Section ``cells``: raw counts, columns, what a cell must have, guides."""
    obs: dict[str, tuple[str, ...]] = {}
    if body.has("obs"):
        columns = body.section("obs")
        obs = {name: columns.texts(name) for name in columns.keys()}  # noqa: SIM118 (not a dict)
    found = CellsFormat(
        counts=body.text("counts", "X"),
        gene_id=body.choice("gene_id", ("symbol", "ensembl"), "symbol"),
        gene_table=body.text("gene_table", ""),
        obs=obs,
        control_label=body.text("control_label", ""),
        control_cells=body.integer("control_cells", 0),
        control_seed=body.integer("control_seed", 0),
        min_genes_per_cell=body.integer("min_genes_per_cell", 0),
        min_cells_per_gene=body.integer("min_cells_per_gene", 0),
        max_unknown_genes=body.share("max_unknown_genes", 1.0),
        total_counts=body.text("total_counts", ""),
        keep=_rules(body, "keep"),
        early=_rules(body, "early"),
        orthologs=body.text("orthologs", ""),
        guides=_guides(body.section("guides")) if body.has("guides") else None,
        gene_column=body.text("gene_column", ""),
        labels=_labels(body.section("labels")) if body.has("labels") else None,
    )
    if found.labels is not None and (found.control_label != CONTROL or obs.get("perturbation") != (LABELS,)):
        raise body.error("labels", f"needs `obs.perturbation: {LABELS}` and `control_label: {CONTROL}`.")
    if found.early and "early" in obs:
        raise body.error("early", "and an `early` column in `obs` exclude each other.")
    if found.control_label and "perturbation" not in obs:
        raise body.error("obs", "names no `perturbation` column although `control_label` is given.")
    if "perturbation" in obs and not found.control_label:
        raise body.error("control_label", "is missing. Say how `obs.perturbation` names the unperturbed cells.")
    if found.guides is not None and (found.control_label or "perturbation" in obs):
        raise body.error("guides", "and a `perturbation` column exclude each other: a cell has one or the other.")
    if found.gene_id == "ensembl" and not found.gene_table:
        raise body.error("gene_table", "is missing. Ensembl ids need a gene table to become symbols.")
    body.finish()
    return found


def _rules(body: Declaration, key: str) -> dict[str, KeepRule]:
    """Rules by column: a list of allowed values, or bounds."""
    rules: dict[str, KeepRule] = {}
    for column, rule in body.mapping(key).items():
        if isinstance(rule, list) and rule:
            rules[column] = KeepRule(values=tuple(map(str, rule)))
            continue
        numbers = rule if isinstance(rule, dict) and rule and set(rule) <= {"min", "max"} else None
        if numbers is None or any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers.values()):
            raise body.error(f"{key}.{column}", f"must be a list of values or {{min: x, max: y}}, found {rule!r}.")
        rules[column] = KeepRule(minimum=numbers.get("min"), maximum=numbers.get("max"))
    return rules


def _guides(body: Declaration) -> GuidesFormat:
    found = GuidesFormat(
        matrix=body.text("matrix"),
        names=body.text("names"),
        table=body.text("table"),
        min_umi=body.integer("min_umi", 5, minimum=1),
    )
    for key, place, value in (("matrix", "obsm/", found.matrix), ("names", "uns/", found.names)):
        if not value.startswith(place) or len(value) == len(place):
            raise body.error(key, f"is {value!r}; write {place}<name>.")
    body.finish()
    return found


def _labels(body: Declaration) -> LabelsFormat:
    found = LabelsFormat(
        columns=body.texts("columns"),
        control=body.texts("control"),
        pattern=body.text("pattern", ""),
        drop=body.texts("drop"),
    )
    for key in ("columns", "control"):
        if not getattr(found, key):
            raise body.error(key, "lists nothing. Name the file's columns, and its words for control cells.")
    try:
        groups = re.compile(found.pattern).groupindex if found.pattern else {"gene": 1}
    except re.error as error:
        raise body.error("pattern", f"is no regular expression ({error}).") from error
    if "gene" not in groups:
        raise body.error("pattern", "has no group called gene; write (?P<gene>...) around the name.")
    body.finish()
    return found


def published_context(body: Declaration) -> PublishedContext:
    """Section ``published``: what the published study says of its data."""
    found = PublishedContext(
        modality=body.text("modality", ""),
        disputed=body.text("disputed", ""),
        cells=body.integer("cells", 0),
        genes=body.integer("genes", 0),
        dense=body.flag("dense", False),
        perturbations=body.text("perturbations", ""),
        rule=body.text("rule", ""),
    )
    body.finish()
    return found


def guide_table_format(body: Declaration) -> GuideTableFormat:
    """Section ``guide_table``: columns, and the file's words for what a guide does."""
    kinds = body.mapping("kinds")
    wrong = [str(word) for word, kind in kinds.items() if kind not in GUIDE_KINDS]
    if not kinds or wrong:
        raise body.error("kinds", f"must map the file's words to {', '.join(GUIDE_KINDS)}; wrong: {', '.join(wrong)}.")
    found = GuideTableFormat(
        guide=body.text("guide"),
        group=body.text("group"),
        kind=body.text("kind"),
        gene=body.text("gene"),
        kinds=kinds,
    )
    body.finish()
    return found


def vocabulary_format(body: Declaration) -> VocabularyFormat:
    """Section ``vocabulary``: where a published tokeniser keeps its genes."""
    found = VocabularyFormat(
        format=body.choice("format", ("tsv", "json")),
        genes=body.text("genes", ""),
        gene_id=body.choice("gene_id", ("symbol", "ensembl"), "symbol"),
        gene_table=body.text("gene_table", ""),
        special=body.texts("special"),
    )
    if (found.format == "tsv") != bool(found.genes):
        raise body.error("genes", "names the column of a tsv file, and of nothing else.")
    if (found.gene_id == "ensembl") != bool(found.gene_table):
        raise body.error("gene_table", "must be given when, and only when, `gene_id` is ensembl.")
    body.finish()
    return found


def universe_rule(body: Declaration) -> UniverseRule:
    """Section ``universe``: which genes are scored."""
    panel = body.text("panel", "")
    try:
        panel_genes = read_panel(panel, body.path.parent.parent) if panel else ()
    except ValueError as error:
        raise body.error("panel", str(error)) from error
    found = UniverseRule(
        genes=body.integer("genes", 2000),
        method=body.choice("method", ("seurat_dispersion", "log_variance"), "seurat_dispersion"),
        forced=body.choice("forced", ("none", "screen", "perturbed", "panel"), "none"),
        panel=panel,
        panel_genes=panel_genes,
        min_detection=body.share("min_detection", 0.0),
    )
    if (found.forced == "panel") != bool(found.panel):
        raise body.error("panel", "must be given when, and only when, `forced` is panel.")
    if found.genes == 0 and found.forced == "none":
        raise body.error("genes", "is 0 and no gene is forced: nothing would be scored.")
    body.finish()
    return found


def label_rule(body: Declaration) -> LabelRule:
    """Section ``differential``: when a gene of a screen with cells counts as differentially expressed."""
    standard = LabelRule()
    found = LabelRule(
        q=body.share("q", standard.q),
        log_fold=body.share("log_fold", standard.log_fold),
        min_cells=body.integer("min_cells", standard.min_cells, minimum=2),
    )
    body.finish()
    return found


def outcome_format(body: Declaration) -> OutcomeFormat:
    """Section ``outcomes``: columns of a table of tested pairs."""
    found = OutcomeFormat(
        perturbation=body.text("perturbation"),
        gene=body.text("gene"),
        label=body.text("label", ""),
        p=body.text("p", ""),
        q=body.share("q", 0.05),
        split=body.text("split", ""),
        train_value=body.text("train_value", "train"),
        direction=body.text("direction", ""),
    )
    if bool(found.label) == bool(found.p):
        raise body.error("label", "and `p`: name a column of labels or one of p-values, and not both.")
    if body.has("q") and not found.p:
        raise body.error("q", "turns p-values into labels; without `p` there are none.")
    body.finish()
    return found


def network_format(body: Declaration) -> NetworkFormat:
    """Section ``network``: how a network or a file of gene sets is read."""
    thresholds = body.mapping("thresholds")
    for name, value in thresholds.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise body.error(f"thresholds.{name}", f"must be a number, found {value!r}.")
    found = NetworkFormat(
        format=body.choice("format", ("sif", "tsv", "parquet", "gmt")),
        source=body.text("source", "tf"),
        target=body.text("target", "target"),
        relation=body.text("relation", ""),
        directed=body.flag("directed", True),
        min_targets=body.integer("min_targets", 1, minimum=1),
        thresholds=thresholds,
        levels=_levels(body),
        direction=body.text("direction", ""),
        activation=body.texts("activation"),
        repression=body.texts("repression"),
        set_name=body.text("set_name", "Name"),
        members=body.text("members", "Genes"),
        separator=body.text("separator", ";"),
        max_set_size=body.integer("max_set_size", 0),
        set_prefix=body.text("set_prefix", ""),
    )
    if bool(found.direction) != bool(found.activation or found.repression):
        raise body.error("direction", "needs its words under `activation` and `repression`, and they need it.")
    if found.direction and not found.directed:
        raise body.error("direction", "belongs to a directed network.")
    if both := sorted({*found.activation} & {*found.repression}):
        raise body.error("repression", f"and `activation` share {', '.join(both)}: a word means one of them.")
    if (found.format == "sif") != bool(found.relation):
        raise body.error("relation", "must be given when, and only when, `format` is sif: name the relation to keep.")
    _check_gene_sets(found, body)
    body.finish()
    return found


def _check_gene_sets(found: NetworkFormat, body: Declaration) -> None:
    """Refuse what only the rows of a network can have for a file of gene sets, which has none."""
    if found.format != "gmt":
        return
    if found.directed:
        raise body.error("directed", "must be false: two genes of one set have no order.")
    for key in ("thresholds", "levels"):
        if getattr(found, key):
            raise body.error(key, "choose among the rows of a network; a gmt file lists gene sets.")


def _levels(body: Declaration) -> dict[str, tuple[str, ...]]:
    """Allowed values by column."""
    found = body.mapping("levels")
    for column, values in found.items():
        if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
            raise body.error(f"levels.{column}", f"must be a list of texts, found {values!r}.")
    return {column: tuple(values) for column, values in found.items()}
