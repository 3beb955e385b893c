"""Calibration files of one known rig in every format, written from the formats' descriptions alone.

Nothing here uses the package: conventions are spelt out once more, the other way round.
"""

import dataclasses
import json
import pathlib
import pickle

import cv2
import numpy as np
import scipy.io


@dataclasses.dataclass(frozen=True)
class Truth:
  """Three cameras; rotation and translation (mm) are w→c, coefficients k1 k2 p1 p2."""

  names: tuple[str, ...]
  sizes_wh: tuple[tuple[int, int], ...]
  intrinsics: np.ndarray
  rotation: np.ndarray
  translation: np.ndarray
  coefficients: np.ndarray
  points: np.ndarray

  def pixels(self, coefficients: np.ndarray | None = None) -> np.ndarray:
    """[v, n, 2], by OpenCV."""
    coefficients = self.coefficients if coefficients is None else coefficients
    return np.stack(
      [
        cv2.projectPoints(self.points, cv2.Rodrigues(r)[0], t, k, c)[0][:, 0]
        for k, r, t, c in zip(self.intrinsics, self.rotation, self.translation, coefficients)
      ]
    )


def truth() -> Truth:
  """The rig: around the origin at 2 to 3 m, one image upright; names that text sorts otherwise."""
  rng = np.random.default_rng(7)
  intrinsics, rotation, translation = [], [], []
  sizes = ((1920, 1080), (1080, 1920), (1280, 1024))
  for i, (width, height) in enumerate(sizes):
    angle = 0.4 + 2.0 * i
    centre = np.array([2200 * np.cos(angle), 2500 * np.sin(angle), 900.0 + 100 * i])
    z = -centre / np.linalg.norm(centre)
    x = np.cross(z, [0, 0, 1]) / np.linalg.norm(np.cross(z, [0, 0, 1]))
    r = cv2.Rodrigues(rng.normal(0, 0.1, 3))[0] @ np.stack([x, np.cross(z, x), z])
    rotation.append(r)
    translation.append(-r @ centre)
    cx, cy = width / 2 + 7.3, height / 2 - 11.9
    intrinsics.append([[1100.5 + 90 * i, 0, cx], [0, 1103.25 + 90 * i, cy], [0, 0, 1]])
  return Truth(
    ("cam_10", "cam_2", "back"),
    sizes,
    np.array(intrinsics),
    np.array(rotation),
    np.array(translation),
    np.array([[-0.12, 0.05, 1e-3, -7e-4], [0.08, -0.02, -4e-4, 6e-4], [-0.2, 0.07, 0, 2e-4]]),
    rng.uniform(-500, 500, (12, 3)),
  )


def _each(t: Truth):
  return zip(t.names, t.sizes_wh, t.intrinsics, t.rotation, t.translation, t.coefficients)


def _vector(rotation: np.ndarray) -> list[float]:
  return cv2.Rodrigues(rotation)[0].ravel().tolist()


def _toml(t: Truth, head, unit: float, count: int, extra: str = "", matrix_rotation=False) -> str:
  text = ""
  for i, (name, size, k, r, translation, c) in enumerate(_each(t)):
    coefficients = [*c.tolist(), 0.0][:count]
    text += f"""[{head(i, name)}]
name = "{name}"
size = [ {size[0]}, {size[1]},]
matrix = {k.tolist()}
distortions = {coefficients}
rotation = {r.tolist() if matrix_rotation else _vector(r)}
translation = {(translation / unit).tolist()}
{extra.format(i=i)}
"""
  return text + "[metadata]\nadjusted = false\nerror = 0.0\n"


def _write(folder: pathlib.Path, name: str, text: str) -> pathlib.Path:
  path = folder / name
  path.write_text(text, encoding="utf-8")
  return path


def aniposelib(folder, t):
  return _write(folder, "calibration.toml", _toml(t, lambda i, n: f"cam_{i}", 1, 5))


def pose2sim(folder, t):
  return _write(folder, "Calib.toml", _toml(t, lambda i, n: n, 1000, 4, "fisheye = false"))


def caliscope(folder, t):
  extra = "cam_id = {i}\nrotation_count = 1\nignore = false\nerror = 0.3\ngrid_count = 12"
  ignored = '[cameras.9]\ncam_id = 9\nignore = true\nmatrix = "null"\n'
  text = _toml(t, lambda i, n: f"cameras.{i}", 1000, 5, extra, matrix_rotation=True)
  return _write(folder, "camera_array.toml", text + ignored)


def qualisys(folder, t):
  cameras = ""
  for name, (w, h), k, r, translation, c in _each(t):
    # Looking along -z with y up: what Qualisys calls the camera is turned half about x.
    rows = np.diag([1, -1, -1]) @ r
    x, y, z = -r.T @ translation
    values = " ".join(f'r{i + 1}{j + 1}="{rows[i, j]!r}"' for i in range(3) for j in range(3))
    left, top = 3, 5
    cameras += f"""<camera active="1" avg-residual="0.4" serial="{name}" viewrotation="0">
<fov_video left="{left}" top="{top}" right="{left + w - 1}" bottom="{top + h - 1}"/>
<transform {values} x="{x!r}" y="{y!r}" z="{z!r}"/>
<intrinsic focalLengthU="{k[0, 0] * 64!r}" focalLengthV="{k[1, 1] * 64!r}"
 centerPointU="{(k[0, 2] + left) * 64!r}" centerPointV="{(k[1, 2] + top) * 64!r}" skew="0.0"
 radialDistortion1="{c[0]!r}" radialDistortion2="{c[1]!r}" radialDistortion3="0.0"
 tangentalDistortion1="{c[2]!r}" tangentalDistortion2="{c[3]!r}"/></camera>"""
  cameras = cameras.replace("np.float64(", "").replace(")", "")
  head = "<?xml version='1.0' encoding='ASCII'?>\n<calibration><cameras>"
  return _write(folder, "Calib.qca.txt", f"{head}{cameras}</cameras></calibration>")


def quaternion(rotation: np.ndarray) -> np.ndarray:
  """x y z w."""
  axis = cv2.Rodrigues(rotation)[0].ravel()
  angle = np.linalg.norm(axis)
  return np.append(np.sin(angle / 2) * axis / angle, np.cos(angle / 2))


def _words(values) -> str:
  return " ".join(repr(float(x)) for x in np.ravel(values))


VICON_RADIAL = (3e-9, 2e-16, 0.0)


def vicon(folder, t):
  """Its own lens, about a centre 4 px from the principal point; a camera for markers beside."""
  cameras = '<Camera DEVICEID="77" SYSTEM="VICON" TYPE="Vantage"><KeyFrames/></Camera>'
  for name, size, k, r, translation, _ in _each(t):
    centre = k[:2, 2] + 4
    cameras += f"""<Camera DEVICEID="{name}" SYSTEM="DV" TYPE="VideoFile"
 SENSOR_SIZE="{size[0]} {size[1]}" PIXEL_ASPECT_RATIO="{k[0, 0] / k[1, 1]!r}"><KeyFrames>
<KeyFrame FOCAL_LENGTH="{float(k[0, 0])!r}" PRINCIPAL_POINT="{_words(k[:2, 2])}"
 ORIENTATION="{_words(quaternion(r))}" POSITION="{_words(-r.T @ translation)}" WORLD_ERROR="0.2"
 VICON_RADIAL2="Vicon3Parameter {_words([*centre, *VICON_RADIAL])}"/></KeyFrames></Camera>"""
  cameras = cameras.replace("np.float64(", "").replace(")", "")
  return _write(folder, "trial.xcp", f"<Cameras VERSION='1.0'>{cameras}</Cameras>")


def opencap(folder, t):
  for name, (w, h), k, r, translation, c in _each(t):
    value = {
      "intrinsicMat": k,
      "distortion": np.append(c, 0.0)[None],
      "imageSize": np.array([[h], [w]]),
      "rotation": r,
      "translation": translation[:, None],
    }
    (folder / name).mkdir()
    path = folder / name / "cameraIntrinsicsExtrinsics.pickle"
    path.write_bytes(pickle.dumps(value, protocol=4))
  return folder


def _yaml_matrix(name: str, matrix: np.ndarray) -> str:
  rows, cols = matrix.shape
  data = ", ".join(repr(float(x)) for x in matrix.ravel())
  return (
    f"{name}: !!opencv-matrix\n   rows: {rows}\n   cols: {cols}\n   dt: d\n   data: [ {data} ]\n"
  )


def easymocap(folder, t):
  head = "%YAML:1.0\n---\nnames:\n" + "".join(f'  - "{name}"\n' for name in t.names)
  intri, extri = head, head
  for name, (w, h), k, r, translation, c in _each(t):
    intri += _yaml_matrix(f"K_{name}", k) + _yaml_matrix(f"dist_{name}", np.append(c, 0)[None])
    intri += f"H_{name}: {h}\nW_{name}: {w}\n"
    extri += _yaml_matrix(f"R_{name}", cv2.Rodrigues(r)[0]) + _yaml_matrix(f"Rot_{name}", r)
    extri += _yaml_matrix(f"T_{name}", translation[:, None] / 1000)
  _write(folder, "intri.yml", intri)
  _write(folder, "extri.yml", extri)
  return folder


def _storage(path: pathlib.Path, **fields) -> None:
  """As programs with OpenCV write it."""
  storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
  for name, value in fields.items():
    storage.write(name, value)
  storage.release()


def jarvis(folder, t):
  """Matrices for row vectors."""
  for name, _, k, r, translation, c in _each(t):
    _storage(
      folder / f"{name}.yaml",
      intrinsicMatrix=k.T.copy(),
      distortionCoefficients=np.append(c, 0.0)[None],
      R=r.T.copy(),
      T=translation[None],
    )
  return folder


def mamma(folder, t):
  text = "cameras:\n"
  for name, size, k, r, translation, c in _each(t):
    x, y, z, w = (float(q) for q in quaternion(r.T))
    centre = (-r.T @ translation / 1000).tolist()
    text += f"""  {name}:
    camera_model: pinhole
    distortion_model: radtan
    intrinsics: {[float(f) for f in (k[0, 0], k[1, 1], k[0, 2], k[1, 2])]}
    distortion_coeffs: {c.tolist()}
    resolution: [{size[0]}, {size[1]}]
    translation: {centre}
    rotation_quaternion: {[w, x, y, z]}
"""
  return _write(folder, "rig.yaml", text)


def calibio(folder, t):
  cameras = []
  for name, size, k, r, translation, c in _each(t):
    values = dict.fromkeys([*(f"k{i}" for i in range(1, 7)), "s1", "s2", "tauX", "tauY"], 0.0)
    values |= {"f": k[0, 0], "ar": k[1, 1] / k[0, 0], "cx": k[0, 2], "cy": k[1, 2]}
    values |= dict(zip(("k1", "k2", "p1", "p2"), c))
    data = {
      "parameters": {n: {"val": float(x), "state": 0} for n, x in values.items()},
      "CameraModelCRT": {"CameraModelBase": {"imageSize": {"width": size[0], "height": size[1]}}},
    }
    model = {"ptr_wrapper": {"id": 1, "data": data}}
    if not cameras:
      model["polymorphic_name"] = "libCalib::CameraModelOpenCV"
    pose = {
      "rotation": dict(zip(("rx", "ry", "rz"), _vector(r))),
      "translation": dict(zip("xyz", (translation / 1000).tolist())),
    }
    cameras.append({"model": model, "serial": name, "transform": pose})
  return _write(folder, "calib.json", json.dumps({"Calibration": {"cameras": cameras}}))


def panoptic(folder, t):
  cameras = [
    {
      "name": name,
      "type": "hd",
      "resolution": list(size),
      "K": k.tolist(),
      "distCoef": [*c.tolist(), 0.0],
      "R": r.tolist(),
      "t": (translation[:, None] / 10).tolist(),
    }
    for name, size, k, r, translation, c in _each(t)
  ]
  return _write(folder, "calibration.json", json.dumps({"cameras": cameras}))


def aist(folder, t):
  cameras = [
    {
      "name": name,
      "size": list(size),
      "matrix": k.tolist(),
      "distortions": [*c.tolist(), 0.0],
      "rotation": _vector(r),
      "translation": (translation / 10).tolist(),
    }
    for name, size, k, r, translation, c in _each(t)
  ]
  return _write(folder, "setting1.json", json.dumps(cameras))


def opencv_json(folder, t):
  cameras = {
    name: {
      "intrinsic_matrix": k.tolist(),
      "distortions": [*c.tolist(), 0.0],
      "extrinsics_matrix": np.column_stack([r, translation]).tolist(),
      "image_size": list(size),
    }
    for name, size, k, r, translation, c in _each(t)
  }
  return _write(folder, "cameras.json", json.dumps({"session": cameras}))


def opencv(folder, t):
  for name, size, k, r, translation, c in _each(t):
    suffix = {"cam_10": "yml", "cam_2": "xml", "back": "yaml"}[name]
    _storage(
      folder / f"{name}.{suffix}",
      image_width=size[0],
      image_height=size[1],
      camera_matrix=k,
      distortion_coefficients=c[:, None],
      rvec=cv2.Rodrigues(r)[0],
      tvec=translation[:, None],
    )
  return folder


def dannce(folder, t):
  """Matrices for row vectors, pixels from 1."""
  params = np.empty((3, 1), object)
  for i, (_, _, k, r, translation, c) in enumerate(_each(t)):
    one_based = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 1]]) @ k
    params[i, 0] = {
      "K": one_based.T,
      "RDistort": c[None, :2],
      "TDistort": c[None, 2:],
      "r": r.T,
      "t": translation[None],
    }
  names = np.empty((1, 3), object)
  names[0] = t.names
  path = folder / "label3d_dannce.mat"
  scipy.io.savemat(path, {"params": params, "camnames": names, "sync": np.zeros(3)})
  return path


def biocv(folder, t):
  for name, size, k, r, translation, c in _each(t):
    rows = [*k, *np.column_stack([r, translation]), [0, 0, 0, 1], np.append(c, 0)]
    lines = [str(size[0]), str(size[1]), *map(_words, rows)]
    # Blank lines between the matrices, as in the data set.
    lines = [*lines[:5], "", *lines[5:9], "", *lines[9:], ""]
    _write(folder, f"{name}.calib", "\n".join(lines))
  return folder


def dlt(folder, t):
  """No lens; v up from the bottom. All images 1080 high here."""
  columns = []
  for _, _, k, r, translation, _ in _each(t):
    p = k @ np.column_stack([r, translation])
    p[1] = 1080 * p[2] - p[1]
    columns.append((p / p[2, 3]).ravel()[:11])
  rows = [",".join(repr(float(x)) for x in row) for row in np.array(columns).T]
  return _write(folder, "dltCoefs.csv", "\n".join(rows) + "\n")


def h36m(folder, t):
  """The three cameras of subject 2, a fourth like the first; every other subject is turned away."""
  angles, centres, lenses = np.zeros((4, 11, 3)), np.zeros((4, 11, 3)), []
  for i, j in enumerate((0, 1, 2, 0)):
    k, r, translation, c = t.intrinsics[j], t.rotation[j], t.translation[j], t.coefficients[j]
    angles[i, 1] = [
      np.arctan2(-r[1, 2], r[2, 2]),
      np.arcsin(r[0, 2]),
      np.arctan2(-r[0, 1], r[0, 0]),
    ]
    centres[i, 1] = -r.T @ translation
    lenses.append([k[0, 0], k[1, 1], k[0, 2], k[1, 2], c[0], c[1], 0, c[2], c[3]])
  poses = np.concatenate([angles, centres], -1)
  text = _words([*poses.ravel(), *np.ravel(lenses)])
  return _write(folder, "metadata.xml", f"<metadata><w0>[{text}]</w0></metadata>")


def plain(folder, t):
  cameras = [
    {
      "name": name,
      "size_wh": list(size),
      "intrinsics": k.tolist(),
      "rotation": r.tolist(),
      "translation_mm": translation.tolist(),
      "lens": {"model": "opencv", "coefficients": c.tolist()},
    }
    for name, size, k, r, translation, c in _each(t)
  ]
  value = {"format": "epipolar-jax rig", "version": 1, "unit_mm": 25.4, "cameras": cameras}
  return _write(folder, "rig.json", json.dumps(value))


MAKERS = {
  "plain json": plain,
  "caliscope": caliscope,
  "pose2sim": pose2sim,
  "aniposelib": aniposelib,
  "qualisys": qualisys,
  "vicon": vicon,
  "h36m": h36m,
  "opencap": opencap,
  "easymocap": easymocap,
  "jarvis": jarvis,
  "mamma": mamma,
  "calib.io": calibio,
  "panoptic": panoptic,
  "aist++": aist,
  "opencv json": opencv_json,
  "dannce": dannce,
  "biocv": biocv,
  "dlt": dlt,
  "opencv": opencv,
}
