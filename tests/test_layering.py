"""Imports point one way, and only the entry points of a layer read the config."""

import ast
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parent.parent
_PACKAGE = "epipolar_jax"
# A module may import those of its own row and of the rows above it.
_LAYERS = (
  {"skeletons", "missing_files"},
  {"geometry"},
  {"heatmaps", "losses", "metrics", "pickles", "keypoints"},
  {"rigs"},
  {"triangulation", "matching"},
  {"motion", "calibration"},
  {"models"},
  {
    "inputs",
    "checkpointing",
    "config_ranges",
    "digests",
    "disk_space",
    "locking",
    "metric_writer",
    "original",
    "runtime",
    "visualize",
  },
  {"tasks", "footage"},
  {"evaluation"},
  {"training"},
  {"tools", "predicting", "cli"},
  {"__main__"},
)
_RANK = {name: rank for rank, names in enumerate(_LAYERS) for name in names}
_FILES = sorted(set((_ROOT / _PACKAGE).rglob("*.py")) - {_ROOT / _PACKAGE / "__init__.py"})


def _imports(path: pathlib.Path) -> set[str]:
  """Full names of everything a file imports, in functions too."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      found |= {f"{node.module}.{alias.name}" for alias in node.names}
  return found


def _layer(path: pathlib.Path) -> str:
  if path.parent.name == "original" and path.name in ("convert_torch.py", "export_torch.py"):
    return "tools"  # commands
  return path.relative_to(_ROOT / _PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", _FILES, ids=lambda p: str(p.relative_to(_ROOT)))
def test_imports_point_one_way(path):
  own = _RANK[_layer(path)]
  for name in _imports(path):
    parts = name.split(".")
    if parts[0] == _PACKAGE and len(parts) > 1 and parts[1] != "__version__":
      assert _RANK[parts[1]] <= own, f"{path.name} imports {name}, a layer above it"


def test_inputs_are_host_only():
  for path in _FILES:
    if _layer(path) == "inputs":
      assert not any(n.split(".")[0] in ("jax", "flax", "optax") for n in _imports(path)), path


def test_torch_and_tensorflow_are_never_imported():
  """But for the other side of the benchmarks, which only `--against torch` imports."""
  ours = [path for path in _FILES if not path.match("tools/benchmark/torch_*.py")]
  for path in [*ours, *(_ROOT / "data").rglob("*.py"), _ROOT / "train.py", _ROOT / "eval.py"]:
    assert not any(n.split(".")[0] in ("torch", "tensorflow") for n in _imports(path)), path


def test_configs_import_only_ml_collections_and_each_other():
  for path in (_ROOT / "configs").glob("*.py"):
    assert all(n.split(".")[0] in ("ml_collections", "configs") for n in _imports(path)), path
