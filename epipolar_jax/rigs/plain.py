"""The project's own json, which carries everything a rig has; mm, w→c, matrices."""

import dataclasses
import json
from typing import Any

from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.checking import Checker
from epipolar_jax.rigs.documents import Document
from epipolar_jax.rigs.rig import Rig

_MARK = "epipolar-jax rig"
_VERSION = 1
_LENSES = {
  "pinhole": lenses.Pinhole,
  "opencv": lenses.OpenCV,
  "fisheye": lenses.Fisheye,
  "vicon_radial": lenses.ViconRadial,
}


def recognise(document: Document) -> bool:
  is_table = document.kind == "json" and isinstance(document.value, dict)
  return is_table and document.value.get("format") == _MARK


def read(document: Document, checker: Checker) -> None:
  value = document.value
  if value.get("version") != _VERSION:
    checker.fault(None, "version", f"should be {_VERSION}; got {str(value.get('version'))[:40]}")
  if value.get("unit_mm") is not None:
    checker.unit_mm = float(checker.numbers(value["unit_mm"], (), None, "unit_mm"))
  cameras = value.get("cameras")
  if not isinstance(cameras, list):
    checker.fault(None, "cameras", "should be a list")
    return
  for number, table in enumerate(cameras):
    table = checker.table(table, f"number {number}", "camera")
    name = checker.name(table.get("name"), f"number {number}")
    checker.add(
      name,
      checker.numbers(table.get("intrinsics"), (3, 3), name, "intrinsics"),
      checker.numbers(table.get("rotation"), (3, 3), name, "rotation"),
      checker.numbers(table.get("translation_mm"), (3,), name, "translation_mm"),
      _read_lens(table.get("lens"), checker, name),
      checker.size(table.get("size_wh"), name, "size_wh"),
      ("intrinsics", "rotation", "translation_mm"),
    )


def _read_lens(value: Any, checker: Checker, name: str) -> lenses.Lens:
  table = dict(checker.table(value, name, "lens"))
  model = table.pop("model", None)
  if not isinstance(model, str) or model not in _LENSES:
    checker.fault(
      name, "lens.model", f"should be one of {', '.join(_LENSES)}; got {str(model)[:40]}"
    )
    return checker.no_lens
  kind = _LENSES[model]
  fields = {field.name for field in dataclasses.fields(kind)}
  if table.keys() != fields:
    checker.fault(name, "lens", f"{model} has the fields {', '.join(sorted(fields)) or 'none'}")
    return checker.no_lens
  for field in fields - {"from_ideal"}:
    numbers = checker.numbers(table[field], (-1,), name, f"lens.{field}")
    table[field] = tuple(numbers.tolist())
  if not isinstance(table.get("from_ideal", True), bool):
    checker.fault(name, "lens.from_ideal", "should be true or false")
  try:
    return kind(**table)
  except ValueError as error:
    checker.fault(name, "lens", str(error))
    return checker.no_lens


def text(rig: Rig) -> str:
  """The file of a rig."""
  names = {kind: name for name, kind in _LENSES.items()}
  unknown = [n for n, lens in zip(rig.names, rig.lenses) if type(lens) not in names]
  if unknown:
    raise ValueError(f"plain json: the lens of camera {', '.join(unknown)} is of no known model")
  cameras = [
    {
      "name": name,
      "size_wh": rig.sizes_wh[i],
      "intrinsics": rig.cameras.intrinsics[i].tolist(),
      "rotation": rig.cameras.rotation[i].tolist(),
      "translation_mm": rig.cameras.translation[i].tolist(),
      "lens": {"model": names[type(rig.lenses[i])]} | dataclasses.asdict(rig.lenses[i]),
    }
    for i, name in enumerate(rig.names)
  ]
  value = {"format": _MARK, "version": _VERSION, "unit_mm": rig.unit_mm, "cameras": cameras}
  return json.dumps(value, indent=1, allow_nan=False) + "\n"
