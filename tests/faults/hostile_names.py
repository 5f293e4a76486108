"""Names that try to be something else: missing values, numbers, paths, markup, commands, several lines."""

from __future__ import annotations

from typing import Final

MISSING: Final = ("NA", "nan", "NaN", "None", "NULL", "null", "N/A", "<NA>", "#N/A", "-", "inf", "-inf")
VALUES: Final = ("True", "false", "1e5", "2-Mar", "0", "007", "1.0", "1_000")
PATHS: Final = ("a/b", "../up", "..", ".", "C:\\x", "~", "%2e%2e")
MARKUP: Final = (
    "<script>alert(1)</script>",
    "</script><b>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "![x](y)",
    "`tick`",
    "|x|",
    "# head",
    "A&amp;B",
    "$x^2$",
    "*bold*",
)
COMMANDS: Final = (
    "'; DROP TABLE x; --",
    '"quoted"',
    "=SUM(A1)",
    "@cmd",
    "$(id)",
    "%s{0}",
    "{release}",
    "\\n",
    "a;b",
    "a,b",
)
LETTERS: Final = (
    "a b",
    "e\u0301",
    "\u00e9",
    "\u0645\u0631\u062d\u0628\u0627",
    "\u202eevil",
    "zero\u200bwidth",
    "\U0001f9ec",
    "\uff21\uff22",
    "\ufeffbom",
    "long" * 60,
)
NAMES: Final = (*MISSING, *VALUES, *PATHS, *MARKUP, *COMMANDS, *LETTERS)
# Never names: they would end a line of a list of names, be cut off, or steer a terminal.
UNUSABLE: Final = ("a\nb", "a\rb", "a\tb", "a\0", "a\x1b[31m", "a\x85b", "a\u2028b", "x" * 1001)
