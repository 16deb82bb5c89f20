"""Who may import whom (see the README of each package), and what may be imported when."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = {
    "rtmotion": REPOSITORY / "rtmotion",
    "rtmotion_baselines": REPOSITORY / "baselines" / "rtmotion_baselines",
    "rtmotion_cli": REPOSITORY / "cli" / "rtmotion_cli",
    "rtmotion_data": REPOSITORY / "data" / "rtmotion_data",
}
SIBLINGS = {
    "rtmotion": {"rtmotion"},
    "rtmotion_baselines": {"rtmotion", "rtmotion_baselines"},
    "rtmotion_cli": {"rtmotion", "rtmotion_baselines", "rtmotion_cli", "rtmotion_data"},
    "rtmotion_data": {"rtmotion", "rtmotion_data"},
}
NOUNS = {"errors", "field", "forecasting", "grid", "interop", "landmarks", "sequence", "types"}
"""The modules of the core that rtmotion_data may use."""

HEAVY = {
    "SimpleITK",
    "accelerate",
    "dask",
    "distributed",
    "idc_index",
    "itk",
    "lightning",
    "monai",
    "nibabel",
    "plotly",
    "pydicom",
    "skimage",
    "transformers",
}
"""Libraries that are imported where they are used, never at the top of a module."""

MODULE_PATH = re.compile(r"rtmotion(_[a-z]+)?(\.\w+)+(:\w+)?")


@dataclass(frozen=True)
class Import:
    """One import of a module, wherever it stands."""

    file: Path
    line: int
    module: str
    at_import: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(REPOSITORY)}:{self.line} imports {self.module}"


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imported_modules(node: ast.AST) -> Iterator[str]:
    """The modules that a statement, or a module path in a string, names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports are banned"
        for alias in node.names:
            # `from rtmotion import grid` imports rtmotion.grid as much as `import rtmotion.grid`
            yield f"{node.module}.{alias.name}"
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE_PATH.fullmatch(node.value):
        # the targets of method cards and of import_module
        yield node.value.partition(":")[0]


def imports_of(source: str, file: Path) -> list[Import]:
    found: list[Import] = []

    def visit(node: ast.AST, at_import: bool) -> None:
        found.extend(Import(file, getattr(node, "lineno", 0), module, at_import) for module in imported_modules(node))
        for child in ast.iter_child_nodes(node):
            lazily = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            if isinstance(node, ast.If) and is_type_checking(node) and child in node.body:
                lazily = True
            visit(child, at_import and not lazily)

    visit(ast.parse(source), True)
    return found


def all_imports(package: str) -> list[Import]:
    files = sorted(PACKAGES[package].rglob("*.py"))
    assert files, f"no module in {PACKAGES[package]}"
    return [found for file in files for found in imports_of(file.read_text(encoding="utf-8"), file)]


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_no_package_imports_a_sibling_it_must_not_know(package: str) -> None:
    known = SIBLINGS[package]
    wrong = [
        str(found)
        for found in all_imports(package)
        if (top := found.module.partition(".")[0]) in PACKAGES and top not in known
    ]
    assert not wrong


def test_the_data_package_uses_only_the_nouns_of_the_core() -> None:
    wrong = []
    for found in all_imports("rtmotion_data"):
        parts = found.module.split(".")
        if parts[0] == "rtmotion" and len(parts) > 1 and parts[1] not in {*NOUNS, "__version__"}:
            wrong.append(str(found))
    assert not wrong


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_heavy_libraries_are_imported_where_they_are_used(package: str) -> None:
    wrong = [
        str(found)
        for found in all_imports(package)
        if found.at_import and found.module.partition(".")[0] in HEAVY and "rtmotion" not in found.module
    ]
    assert not wrong


def test_the_rules_see_an_import_inside_a_function_and_in_a_string() -> None:
    source = (
        "from typing import TYPE_CHECKING\n"
        "import itk\n"
        "if TYPE_CHECKING:\n    import monai\n"
        "def f():\n    from rtmotion_data import readers\n"
        "card = 'rtmotion_baselines.trivial:create'\n"
    )
    found = {i.module: i.at_import for i in imports_of(source, REPOSITORY / "x.py")}
    assert found["itk"] is True
    assert found["monai"] is False
    assert found["rtmotion_data.readers"] is False
    assert "rtmotion_baselines.trivial" in found


@pytest.mark.parametrize("arguments", [["--help"], ["methods"], ["methods", "--json"], ["forecast", "--help"]])
def test_the_command_line_answers_without_importing_torch(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from rtmotion_cli.main import main\n"
        f"code = main({arguments!r})\n"
        "heavy = {'torch', 'numpy', 'scipy', *" + repr(sorted(HEAVY)) + "} & set(sys.modules)\n"
        "sys.exit(f'imported: {sorted(heavy)}' if heavy else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
