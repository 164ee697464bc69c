"""Texts are read and written as UTF-8 whatever the machine's own encoding is."""

import ast
from pathlib import Path

import pipeline

SOURCE = Path(pipeline.__file__).parent


def without_encoding(tree):
    """Lines that open a text without saying its encoding."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        texts = isinstance(call.func, ast.Attribute) and name in ("read_text", "write_text")
        modes = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        opens = name == "open" and isinstance(call.func, ast.Name) and not any("b" in mode for mode in modes)
        opens |= name == "open" and isinstance(call.func, ast.Attribute) and modes[:1] in (["r"], ["w"], ["a"], ["x"])
        if (texts or opens) and not any(keyword.arg == "encoding" for keyword in call.keywords):
            yield call.lineno


def test_every_text_has_an_encoding():
    found = [
        f"{file.relative_to(SOURCE)}:{line}"
        for file in sorted(SOURCE.rglob("*.py"))
        for line in without_encoding(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == []
