"""Pose2Sim's toml: aniposelib's fields with metres and four coefficients; keys are camera names."""

from epipolar_jax.rigs import aniposelib
from epipolar_jax.rigs.checking import Checker
from epipolar_jax.rigs.documents import Document


def recognise(document: Document) -> bool:
  """What Pose2Sim writes and aniposelib does not: `fisheye` everywhere, the key as the name."""
  tables = aniposelib.tables(document)
  nested = isinstance(document.value, dict) and isinstance(document.value.get("cameras"), dict)
  return bool(tables) and (
    nested
    or all(
      "fisheye" in table and table.get("name", key) == key and _count(table) == 4
      for key, table in tables.items()
    )
  )


def _count(table: dict) -> int:
  distortions = table.get("distortions")
  # Anything else is for the reader to complain about.
  return len(distortions) if isinstance(distortions, list) else 4


def read(document: Document, checker: Checker) -> None:
  for key, table in aniposelib.tables(document).items():
    aniposelib.read_table(table, checker, checker.name(table.get("name", key), key))
