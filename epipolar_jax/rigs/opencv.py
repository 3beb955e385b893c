"""What programs write with OpenCV: FileStorage yml, xml or json, ROS camera_info, "OpenCV json".

FileStorage files have no fixed names; the usual ones are known. A single camera without a pose is
its own world (R = 1, t = 0). A stereo file (M1 D1 M2 D2 R T) has its first camera as the world.
"OpenCV json" is {camera: {intrinsic_matrix, distortions, extrinsics_matrix, image_size}}, perhaps
within {sequence: ...}; w→c. The unit is not in the files.
"""

from typing import Any

import numpy as np

from epipolar_jax.rigs import documents
from epipolar_jax.rigs.checking import Checker
from epipolar_jax.rigs.documents import Document

# Lowercase, without underscores.
_NAMES = {
  "matrix": ("cameramatrix", "intrinsicmatrix", "k", "mtx", "m"),
  "lens": ("distortioncoefficients", "distcoeffs", "distortions", "distortion", "dist", "d"),
  "rotation": ("r", "rotation", "rotationmatrix", "rvec"),
  "translation": ("t", "translation", "translationvector", "tvec"),
  "size": ("imagesize", "imagewh"),
  "width": ("imagewidth", "width"),
  "height": ("imageheight", "height"),
}
_STEREO = ("M1", "D1", "M2", "D2", "R", "T")


def _fields(table: dict[str, Any]) -> dict[str, str]:
  """What the file calls each of `_NAMES`, where it has it."""
  plain = {key.lower().replace("_", ""): key for key in table if isinstance(key, str)}
  found = {what: [plain[n] for n in names if n in plain] for what, names in _NAMES.items()}
  return {what: keys[0] for what, keys in found.items() if keys}


def _is_camera(value: Any) -> bool:
  return isinstance(value, dict) and {"matrix", "lens"} <= _fields(value).keys()


def _is_stereo(value: Any) -> bool:
  return isinstance(value, dict) and all(key in value for key in _STEREO)


def _folder_cameras(document: Document) -> dict[str, Document]:
  """Cameras of a folder with a file each, by the stem of the file."""
  paths = [p for n, p in document.value.items() if n.lower().endswith((".yml", ".yaml", ".xml"))]
  return {path.stem: documents.load(path) for path in paths}


def recognise(document: Document) -> bool:
  if document.kind == "folder":
    cameras = _folder_cameras(document).values()
    return bool(cameras) and all(_is_camera(camera.value) for camera in cameras)
  return document.kind in ("yaml", "json") and (
    _is_camera(document.value) or _is_stereo(document.value)
  )


def read(document: Document, checker: Checker) -> None:
  if document.kind == "folder":
    for name, camera in _folder_cameras(document).items():
      _read_camera(camera.value, checker, name, alone=False)
  elif _is_stereo(document.value):
    _read_stereo(document.value, checker)
  else:
    table = document.value
    name = checker.name(table.get("camera_name", document.path.stem), "camera_name")
    _read_camera(table, checker, name, alone=True)


def _read_camera(table: dict[str, Any], checker: Checker, name: str, *, alone: bool) -> None:
  fields = _fields(table)
  value = {what: table[key] for what, key in fields.items()}
  named = {what: fields.get(what, what) for what in _NAMES}
  if alone and not {"rotation", "translation"} & fields.keys():
    value |= {"rotation": np.eye(3), "translation": np.zeros(3)}
  size = value.get("size", [value.get("width"), value.get("height")])
  model = table.get("distortion_model", table.get("fisheye_model", table.get("fisheye")))
  checker.add(
    name,
    checker.numbers(value.get("matrix"), (3, 3), name, named["matrix"]),
    checker.rotation(value.get("rotation"), name, named["rotation"]),
    checker.numbers(value.get("translation"), (3,), name, named["translation"]),
    checker.lens(value.get("lens"), name, named["lens"], fisheye=model),
    checker.size(size, name, "image size"),
    (named["matrix"], named["rotation"], named["translation"]),
  )


def _read_stereo(table: dict[str, Any], checker: Checker) -> None:
  poses = {
    "1": (np.eye(3), np.zeros(3)),
    "2": (
      checker.rotation(table["R"], "2", "R"),
      checker.numbers(table["T"], (3,), "2", "T"),
    ),
  }
  size = [table.get("image_width"), table.get("image_height")]
  for name, (rotation, translation) in poses.items():
    checker.add(
      name,
      checker.numbers(table[f"M{name}"], (3, 3), name, f"M{name}"),
      rotation,
      translation,
      checker.lens(table[f"D{name}"], name, f"D{name}"),
      checker.size(size, name, "image size"),
      (f"M{name}", "R", "T"),
    )


def _json_cameras(value: Any) -> dict[str, dict[str, Any]]:
  """Cameras of an "OpenCV json" by name; with the sequence before where there are several."""
  if not isinstance(value, dict):
    return {}
  if any(isinstance(camera, dict) and "extrinsics_matrix" in camera for camera in value.values()):
    return value
  sequences = {
    key: cameras
    for key, cameras in value.items()
    if isinstance(cameras, dict)
    and any(isinstance(c, dict) and "extrinsics_matrix" in c for c in cameras.values())
  }
  if len(sequences) == 1:
    return next(iter(sequences.values()))
  return {f"{key}.{name}": c for key, cameras in sequences.items() for name, c in cameras.items()}


def recognise_json(document: Document) -> bool:
  return document.kind == "json" and bool(_json_cameras(document.value))


def read_json(document: Document, checker: Checker) -> None:
  for name, table in _json_cameras(document.value).items():
    table = checker.table(table, name, "camera")
    pose = checker.numbers(table.get("extrinsics_matrix"), (3, 4), name, "extrinsics_matrix")
    checker.add(
      name,
      checker.numbers(table.get("intrinsic_matrix"), (3, 3), name, "intrinsic_matrix"),
      pose[:, :3],
      pose[:, 3],
      checker.lens(table.get("distortions"), name, "distortions", fisheye=table.get("fisheye")),
      checker.size(table.get("image_size"), name, "image_size"),
      ("intrinsic_matrix", "extrinsics_matrix", "extrinsics_matrix"),
    )
