"""Writes a `Rig` in the formats of other tools."""

import json
import math
import os
import pathlib

import numpy as np

from epipolar_jax.rigs import aniposelib, lenses, plain
from epipolar_jax.rigs.checking import vector_of
from epipolar_jax.rigs.reading import UNITS_MM
from epipolar_jax.rigs.rig import Rig


def write(
  rig: Rig, path: str | os.PathLike, format: str = "plain json", *, unit: str | None = None
) -> tuple[str, ...]:
  """Writes a rig; what comes back when the file is read is the same rig.

  Args:
    rig: to write.
    path: of the file; of a folder for "easymocap", made if need be.
    format: one of `WRITERS`. "plain json" carries everything.
    unit: of the translations, one of `reading.UNITS_MM`, for formats that do not fix it; mm.

  Returns:
    What the file does not say, a sentence each; () if it says everything.

  Raises:
    ValueError: the format cannot carry a camera's lens or name; nothing is written, and the message
      lists all that it cannot carry.
  """
  check_name(format)
  if unit is not None and unit not in UNITS_MM:
    raise ValueError(f"unit should be one of {', '.join(UNITS_MM)}; got {unit!r}")
  fixed = FIXED_UNITS.get(format)
  if unit is not None and fixed is not None and unit != fixed:
    raise ValueError(f"{format}: translations are in {fixed}, not in {unit}")
  function, limits = WRITERS[format]
  _check(rig, format, limits)
  path = pathlib.Path(path)
  files = function(rig, UNITS_MM[fixed or unit or "mm"])
  if set(files) != {""}:
    path.mkdir(parents=True, exist_ok=True)
  for name, text in files.items():
    (path / name if name else path).write_text(text, encoding="utf-8", newline="\n")
  return _left_out(rig, format, fixed, unit or "mm")


def check_name(format: str) -> None:
  """Raises ValueError where there is no such format."""
  if format not in WRITERS:
    raise ValueError(f"format should be one of {', '.join(WRITERS)}; got {format!r}")


def _left_out(rig: Rig, format: str, fixed: str | None, unit: str) -> tuple[str, ...]:
  if format == "plain json":
    return ()
  notes = []
  if fixed is None:
    notes.append(f"{format} does not state the unit of translations: they are in {unit}")
  unknown = [name for name, size in zip(rig.names, rig.sizes_wh) if size is None]
  if unknown:
    notes.append(f"the image size of camera {', '.join(unknown)} is not known")
  return tuple(notes)


def _check(rig: Rig, format: str, limits: tuple[int, bool] | None) -> None:
  """Raises ValueError for all lenses and names that do not fit."""
  if limits is None:
    return
  most, fisheye = limits
  faults = []
  for name, lens in zip(rig.names, rig.lenses):
    if isinstance(lens, lenses.OpenCV):
      if any(lens.coefficients[most:]):
        count = len(lens.coefficients)
        faults.append(f"camera {name}: {count} lens coefficients; it has {most}")
    elif isinstance(lens, lenses.Fisheye):
      if not fisheye:
        faults.append(f"camera {name}: a fisheye lens; it has none")
    elif not isinstance(lens, lenses.Pinhole):
      faults.append(f"camera {name}: a lens of type {type(lens).__name__}")
    if format == "pose2sim" and name in (*aniposelib.OTHERS, "cameras"):
      faults.append(f"camera {name}: a name that it has another use for")
    if format == "easymocap" and (any(c.isspace() or c in "\"'\\:#" for c in name)):
      faults.append(f"camera {name!r}: a name that does not make a YAML key")
  if faults:
    raise ValueError(f"{format} cannot carry this rig; plain json can:\n  " + "\n  ".join(faults))


def _coefficients(lens: lenses.Lens, least: int, most: int) -> list[float]:
  given = () if isinstance(lens, lenses.Pinhole) else lens.coefficients[:most]
  return [*given, *[0.0] * (least - len(given))]


def _aniposelib(rig: Rig, unit_mm: float) -> dict[str, str]:
  lines = []
  for i, (name, lens) in enumerate(zip(rig.names, rig.lenses)):
    fisheye = isinstance(lens, lenses.Fisheye)
    lines += [
      f"[cam_{i}]",
      *_toml_camera(rig, i, unit_mm, _coefficients(lens, 4, 5), name),
      *(["fisheye = true"] if fisheye else []),
      "",
    ]
  return {"": "\n".join([*lines, "[metadata]", ""])}


def _pose2sim(rig: Rig, unit_mm: float) -> dict[str, str]:
  lines = []
  for i, (name, lens) in enumerate(zip(rig.names, rig.lenses)):
    fisheye = isinstance(lens, lenses.Fisheye)
    lines += [
      f"[{_toml_text(name)}]",
      *_toml_camera(rig, i, unit_mm, _coefficients(lens, 4, 4), name),
      f"fisheye = {'true' if fisheye else 'false'}",
      "",
    ]
  return {"": "\n".join([*lines, "[metadata]", "adjusted = false", "error = 0.0", ""])}


def _toml_camera(
  rig: Rig, i: int, unit_mm: float, coefficients: list[float], name: str
) -> list[str]:
  camera, size = rig.cameras[i], rig.sizes_wh[i]
  return [
    f"name = {_toml_text(name)}",
    *([f"size = {list(size)}"] if size else []),
    f"matrix = {camera.intrinsics.tolist()}",
    f"distortions = {coefficients}",
    f"rotation = {vector_of(camera.rotation).tolist()}",
    f"translation = {(camera.translation / unit_mm).tolist()}",
  ]


def _toml_text(text: str) -> str:
  """A basic string: JSON's escapes are TOML's."""
  return json.dumps(text, ensure_ascii=True)


def _opencv_json(rig: Rig, unit_mm: float) -> dict[str, str]:
  cameras = {}
  for i, (name, lens) in enumerate(zip(rig.names, rig.lenses)):
    camera, size = rig.cameras[i], rig.sizes_wh[i]
    pose = np.column_stack([camera.rotation, camera.translation / unit_mm])
    cameras[name] = {
      "intrinsic_matrix": camera.intrinsics.tolist(),
      "distortions": _coefficients(lens, 5, 14),
      "extrinsics_matrix": pose.tolist(),
      **({"image_size": list(size)} if size else {}),
    }
  return {"": json.dumps(cameras, indent=1, allow_nan=False) + "\n"}


def _easymocap(rig: Rig, unit_mm: float) -> dict[str, str]:
  names = ["names:", *(f'  - "{name}"' for name in rig.names)]
  intri, extri = ["%YAML:1.0", "---", *names], ["%YAML:1.0", "---", *names]
  for i, (name, lens) in enumerate(zip(rig.names, rig.lenses)):
    camera, size = rig.cameras[i], rig.sizes_wh[i]
    intri += _yaml_matrix(f"K_{name}", camera.intrinsics)
    intri += _yaml_matrix(f"dist_{name}", np.array([_coefficients(lens, 5, 5)]))
    if size:
      intri += [f"H_{name}: {size[1]}", f"W_{name}: {size[0]}"]
    extri += _yaml_matrix(f"R_{name}", vector_of(camera.rotation)[:, None])
    extri += _yaml_matrix(f"Rot_{name}", camera.rotation)
    extri += _yaml_matrix(f"T_{name}", (camera.translation / unit_mm)[:, None])
  return {"intri.yml": "\n".join([*intri, ""]), "extri.yml": "\n".join([*extri, ""])}


def _yaml_matrix(name: str, matrix: np.ndarray) -> list[str]:
  """OpenCV's matrix in a FileStorage yaml."""
  rows, cols = matrix.shape
  data = ", ".join(_decimal(x) for x in matrix.ravel().tolist())
  head = [f"{name}: !!opencv-matrix", f"  rows: {rows}", f"  cols: {cols}", "  dt: d"]
  return [*head, f"  data: [{data}]"]


def _decimal(x: float) -> str:
  """repr with the point that OpenCV's parser wants in a real number."""
  text = repr(x)
  if not math.isfinite(x) or "." in text:
    return text
  mantissa, _, exponent = text.partition("e")
  return f"{mantissa}.{'e' + exponent if exponent else ''}"


# By format: what writes it, and (most OpenCV coefficients, whether fisheye) that it has room for.
WRITERS = {
  "plain json": (lambda rig, _: {"": plain.text(rig)}, None),
  "aniposelib": (_aniposelib, (5, True)),
  "pose2sim": (_pose2sim, (4, True)),
  "opencv json": (_opencv_json, (14, False)),
  "easymocap": (_easymocap, (5, False)),
}
# Of formats that fix it, the unit of translations.
FIXED_UNITS = {"plain json": "mm", "pose2sim": "m", "easymocap": "m"}
