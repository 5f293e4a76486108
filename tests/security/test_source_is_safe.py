"""No line of the two packages loads code, runs a text, or trusts a file more than it must.

`tests/architecture` looks for single words; here the syntax tree is read, so that an alias or another keyword order
hides nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from interp_assets.settings import PROJECT

FILES = sorted(path for room in ("interp_assets", "qc_standards") for path in (PROJECT / room).rglob("*.py"))
# The one reader of pickles: it knows two globals, both for plain numbers (`checkpoints._DictionaryUnpickler`).
READS_PICKLES = "interp_assets/models/files/checkpoints.py"
MODULES = {"dill", "cloudpickle", "marshal", "shelve", "joblib", "jsonpickle", "telnetlib", "ftplib", "xmlrpc"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp"),
    *("pickle.load", "pickle.loads", "pandas.read_pickle", "numpy.fromregex", "yaml.unsafe_load", "yaml.full_load"),
    *(
        "yaml.load_all",
        "yaml.full_load_all",
        "yaml.unsafe_load_all",
        "subprocess.getoutput",
        "subprocess.getstatusoutput",
    ),
    *("shutil.unpack_archive", "tarfile.open", "webbrowser.open", "ssl._create_unverified_context"),
}
# Keyword -> what it may be said to be; a call without it falls under `NEEDED`.
KEYWORDS = {
    **dict.fromkeys(("shell", "trust_remote_code", "allow_pickle", "use_pickle"), False),
    **dict.fromkeys(("verify", "weights_only", "use_safetensors"), True),
}
NEEDED = {"torch.load": "weights_only", "numpy.load": "allow_pickle", "numpy.lib.format.read_array": "allow_pickle"}
RUNS_NAMES = {"subprocess.run", "subprocess.Popen", "subprocess.check_output", "subprocess.call", "os.execvpe"}


def names_of(tree: ast.Module) -> dict[str, str]:
    """Full dotted name of everything that is imported, by its name here."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {item.asname or item.name.split(".")[0]: item.name if item.asname else item.name.split(".")[0]
                      for item in node.names}  # fmt: skip
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {item.asname or item.name: f"{node.module}.{item.name}" for item in node.names}
    return found


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = names_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, dotted(node.func, names)


def faults_of(path: Path) -> list[str]:
    found = []
    for call, name in calls(path):
        given = {word.arg: word.value for word in call.keywords if word.arg}
        if name in CALLS:
            found.append(f"line {call.lineno}: {name}")
        needed = NEEDED.get(name)
        if needed and needed not in given:
            found.append(f"line {call.lineno}: {name} without {needed}")
        for word, allowed in KEYWORDS.items():
            value = given.get(word)
            if value is not None and not (isinstance(value, ast.Constant) and value.value is allowed):
                found.append(f"line {call.lineno}: {word} is not {allowed}")
        if name == "yaml.load" and not str(ast.unparse(given.get("Loader", ast.Constant("")))).endswith("PlainLoader"):
            found.append(f"line {call.lineno}: yaml.load without the safe loader")
        if name in RUNS_NAMES and call.args and not isinstance(call.args[0], ast.List | ast.Name):
            found.append(f"line {call.lineno}: {name} of a text instead of a list of words")
        sql = name.endswith((".execute", ".exec_driver_sql", "sqlalchemy.text"))
        if sql and call.args and isinstance(call.args[0], ast.JoinedStr | ast.BinOp):
            found.append(f"line {call.lineno}: SQL made of parts")
    return found


def test_no_call_loads_code_runs_a_text_or_trusts_a_file(tally):
    found = [f"{path.relative_to(PROJECT)}: {fault}" for path in FILES for fault in faults_of(path)]
    assert not found, "\n".join(found)
    tally("security", "source: calls that load code, run texts or build SQL", "right", len(FILES))


def test_only_the_restricted_reader_knows_pickle(tally):
    for path in FILES:
        tops = {name.split(".")[0] for name in names_of(ast.parse(path.read_text(encoding="utf-8"))).values()}
        assert not tops & MODULES, path
        assert "pickle" not in tops or str(path.relative_to(PROJECT)) == READS_PICKLES, path
    tally("security", "source: modules that unpickle", "right", len(FILES))


@pytest.mark.parametrize(
    "line",
    [
        *("import os as o\no.system('x')", "from os import system as s\ns('x')", "eval('1')", "exec('1')"),
        *("import numpy as np\nnp.load('x')", "import numpy as np\nnp.load('x', allow_pickle=flag)"),
        *("import torch\ntorch.load('x')", "import torch\ntorch.load('x', weights_only=False)"),
        *("import subprocess\nsubprocess.run('ls ' + name)", "import subprocess\nsubprocess.run(['x'], shell=True)"),
        *("import yaml\nyaml.load(text, Loader=yaml.Loader)", "import pandas as pd\npd.read_pickle('x')"),
        *("AutoModel.from_pretrained('x', trust_remote_code=True)", "requests.get(url, verify=False)"),
        *("c.execute(f'select {name}')", "import sqlalchemy\nsqlalchemy.text('select ' + name)"),
        *("import tempfile\ntempfile.mktemp()", "import pickle\npickle.loads(b'')"),
    ],
)
def test_each_of_them_would_be_found(tmp_path, line):
    path = tmp_path / "x.py"
    path.write_text(line, encoding="utf-8")
    assert faults_of(path)
