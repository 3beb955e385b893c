"""Skeletons: joint names, the tree they form, mirror pairs and the size of such a body."""

import dataclasses
import json
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Skeleton:
  """A tree of named joints; immutable and hashable, so it can be a static argument.

  Attributes:
    name: for messages and file names.
    joints: one name per joint, in array order.
    parents: index of each joint's parent, -1 for the one root; a parent may come after its child.
    flip_pairs: (right, left) indices that change places when the image is mirrored.
    size_mm: length of such a body at full stretch; thresholds, grids and drawings are in shares of
      it.

  Raises:
    ValueError: the parents are not a tree over the joints, a pair names a joint that is not there
      or one joint twice, or the size is not a positive number.
  """

  name: str
  joints: tuple[str, ...]
  parents: tuple[int, ...]
  flip_pairs: tuple[tuple[int, int], ...] = ()
  size_mm: float = 2000.0

  def __post_init__(self):
    paired = [joint for pair in self.flip_pairs for joint in pair]
    if len(set(paired)) != len(paired) or not set(paired) <= set(range(len(self.joints))):
      raise ValueError(
        f"{self.name}: each joint is in one flip pair at most, got {self.flip_pairs}"
      )
    if not 0 < self.size_mm < float("inf"):
      raise ValueError(f"{self.name}: size_mm must be above 0, got {self.size_mm}")
    if len(self.joints) != len(self.parents) or len(set(self.joints)) != len(self.joints):
      raise ValueError(f"{self.name}: needs one parent per joint and distinct joint names")
    if self.parents.count(-1) != 1:
      raise ValueError(f"{self.name}: exactly one joint has parent -1, got {self.parents}")
    for start in range(len(self.parents)):
      joint, steps = start, 0
      while joint != -1:
        if steps > len(self.parents) or not 0 <= joint < len(self.parents):
          raise ValueError(f"{self.name}: joint {self.joints[start]} does not lead to the root")
        joint, steps = self.parents[joint], steps + 1

  @property
  def num_joints(self) -> int:
    return len(self.joints)

  @property
  def root(self) -> int:
    return self.parents.index(-1)

  @property
  def limbs(self) -> tuple[tuple[int, int], ...]:
    """(parent, child) of every joint but the root, in joint order."""
    return tuple((p, c) for c, p in enumerate(self.parents) if p >= 0)

  @property
  def flip_order(self) -> tuple[int, ...]:
    """Joint order after mirroring: `points[list(flip_order)]` puts left where right was."""
    order = list(range(self.num_joints))
    for a, b in self.flip_pairs:
      order[a], order[b] = b, a
    return tuple(order)

  def index(self, name: str) -> int:
    """Index of a joint by name.

    Raises:
      ValueError: no such joint; the message lists the names.
    """
    if name not in self.joints:
      raise ValueError(f"{self.name} has no joint {name!r}; it has {', '.join(self.joints)}")
    return self.joints.index(name)


def _skeleton(
  name: str, tree: tuple[tuple[str, str | None], ...], sides: bool, size_mm: float = 2000.0
) -> Skeleton:
  """Builds from (joint, parent name) rows; with sides, "r..." and "l..." twins are flip pairs."""
  joints = tuple(joint for joint, _ in tree)
  parents = tuple(-1 if parent is None else joints.index(parent) for _, parent in tree)
  pairs = tuple(
    (i, joints.index("l" + joint[1:]))
    for i, joint in enumerate(joints)
    if sides and joint.startswith("r") and "l" + joint[1:] in joints
  )
  return Skeleton(name, joints, parents, pairs, size_mm)


_LARGEST_MM = 1e9
_LEGS = (
  ("root", None),
  ("rhip", "root"),
  ("rkne", "rhip"),
  ("rank", "rkne"),
  ("lhip", "root"),
  ("lkne", "lhip"),
  ("lank", "lkne"),
  ("belly", "root"),
)
_ARMS = (
  ("lsho", "neck"),
  ("lelb", "lsho"),
  ("lwri", "lelb"),
  ("rsho", "neck"),
  ("relb", "rsho"),
  ("rwri", "relb"),
)

# Human3.6M as the H36M toolbox orders it.
H36M_17 = _skeleton(
  "h36m_17",
  (*_LEGS, ("neck", "belly"), ("nose", "neck"), ("head", "nose"), *_ARMS),
  sides=True,
)

# Human3.6M and MPII together: MPII adds thorax (8), upper neck (10) and head top (13).
UNION_20 = _skeleton(
  "union_20",
  (
    *_LEGS,
    ("thorax", "belly"),
    ("neck", "belly"),
    ("upper_neck", "neck"),
    ("nose", "neck"),
    ("head", "nose"),
    ("head_top", "head"),
    *_ARMS,
  ),
  sides=True,
)

# Row i of a 17-joint array is row UNION_TO_H36M[i] of a 20-joint one.
UNION_TO_H36M = tuple(UNION_20.joints.index(joint) for joint in H36M_17.joints)

# Rendered Hand Pose: the wrist, then five fingers from the tip (1) to the base (4).
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
RHD_21 = _skeleton(
  "rhd_21",
  (
    ("wrist", None),
    *(
      (f"{finger}{i}", f"{finger}{i + 1}" if i < 4 else "wrist")
      for finger in _FINGERS
      for i in (1, 2, 3, 4)
    ),
  ),
  sides=False,
  size_mm=200.0,
)

# COCO's keypoints in their order, named as above; the tree is for drawing, its root the nose.
COCO_17 = _skeleton(
  "coco_17",
  (
    ("nose", None),
    ("leye", "nose"),
    ("reye", "nose"),
    ("lear", "leye"),
    ("rear", "reye"),
    ("lsho", "nose"),
    ("rsho", "nose"),
    ("lelb", "lsho"),
    ("relb", "rsho"),
    ("lwri", "lelb"),
    ("rwri", "relb"),
    ("lhip", "lsho"),
    ("rhip", "rsho"),
    ("lkne", "lhip"),
    ("rkne", "rhip"),
    ("lank", "lkne"),
    ("rank", "rkne"),
  ),
  sides=True,
)

SKELETONS = {s.name: s for s in (H36M_17, UNION_20, RHD_21, COCO_17)}


def read(name_or_path: str | pathlib.Path) -> Skeleton:
  """A skeleton of this file by name, or one's own from a TOML file.

    name = "mouse"
    size_mm = 90
    joints = ["nose", "left_ear", "right_ear", "tail_base"]
    parents = ["tail_base", "nose", "nose", ""]
    flip_pairs = [["right_ear", "left_ear"]]

  Args:
    name_or_path: one of `SKELETONS`, or a path that ends in .toml.

  Raises:
    ValueError: no such name, or what is wrong in the file and which fields it should have.
    FileNotFoundError: no such file.
  """
  if str(name_or_path) in SKELETONS:
    return SKELETONS[str(name_or_path)]
  if not str(name_or_path).endswith(".toml"):
    raise ValueError(
      f"no skeleton {str(name_or_path)!r}; there are {', '.join(SKELETONS)}, or give a .toml file"
    )
  path = pathlib.Path(name_or_path)
  try:
    fields = tomllib.loads(path.read_text(encoding="utf-8"))
  except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
    raise ValueError(f"{path}: not a TOML file: {error}") from error
  return from_dict(fields, where=str(path))


def from_dict(fields: dict, *, where: str) -> Skeleton:
  """The skeleton of `to_dict` or of a TOML file's fields.

  Raises:
    ValueError: a field is missing, unknown or wrong; the message begins with `where`.
  """
  needed, optional = ("name", "size_mm", "joints", "parents"), ("flip_pairs",)
  missing = [name for name in needed if name not in fields]
  unknown = sorted(set(fields) - {*needed, *optional})
  if missing or unknown:
    raise ValueError(
      f"{where}: a skeleton has the fields {', '.join(needed)} and perhaps flip_pairs; "
      f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
    )
  joints, size = fields["joints"], fields["size_mm"]
  names = isinstance(joints, list) and joints and all(isinstance(j, str) and j for j in joints)
  if not names or len(set(joints)) != len(joints):
    raise ValueError(f"{where}: joints should be a list of distinct names, got {joints!r}")
  # Whole numbers of a text file may be larger than any float.
  if isinstance(size, bool) or not isinstance(size, int | float) or abs(size) > _LARGEST_MM:
    raise ValueError(f"{where}: size_mm should be a number, got {size!r:.40}")

  def index(joint, field):
    if joint not in joints:
      raise ValueError(f"{where}: {field} names {joint!r}; the joints are {', '.join(joints)}")
    return joints.index(joint)

  parents, pairs = fields["parents"], fields.get("flip_pairs", [])
  if not isinstance(parents, list) or len(parents) != len(joints):
    raise ValueError(
      f"{where}: parents should hold a name for each of {len(joints)} joints, "
      f'"" for the root; got {parents!r}'
    )
  if not isinstance(pairs, list) or not all(isinstance(p, list) and len(p) == 2 for p in pairs):
    raise ValueError(f"{where}: flip_pairs should be a list of [right, left], got {pairs!r}")
  return Skeleton(
    name=str(fields["name"]),
    joints=tuple(joints),
    parents=tuple(-1 if parent == "" else index(parent, "parents") for parent in parents),
    flip_pairs=tuple((index(r, "flip_pairs"), index(l, "flip_pairs")) for r, l in pairs),
    size_mm=float(size),
  )


def to_dict(skeleton: Skeleton) -> dict:
  """JSON-like, by names: what `from_dict` reads."""
  joints = skeleton.joints
  return {
    "name": skeleton.name,
    "size_mm": skeleton.size_mm,
    "joints": list(joints),
    "parents": ["" if parent < 0 else joints[parent] for parent in skeleton.parents],
    "flip_pairs": [[joints[r], joints[l]] for r, l in skeleton.flip_pairs],
  }


def to_toml(skeleton: Skeleton) -> str:
  """A file that `read` takes, with every string quoted as TOML wants it."""
  fields = to_dict(skeleton)
  return "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())


# Of configs from before `model.skeleton`, which had the number of joints alone.
_OF_NUMBER = {s.num_joints: s for s in (H36M_17, UNION_20, RHD_21)}


def of_model(model: Mapping[str, Any]) -> Skeleton:
  """The skeleton of a config's `model` group, also of one recorded before it had a skeleton.

  Args:
    model: has `skeleton`, a name, a path that ends in .toml or the fields of `to_dict`; or, as of
      old, `num_joints` alone: 17 (h36m_17), 20 (union_20) or 21 (rhd_21).

  Raises:
    ValueError: no such skeleton; the message names the field.
    FileNotFoundError: no such file.
  """
  if "skeleton" not in model:
    number = model.get("num_joints")
    if not isinstance(number, int) or number not in _OF_NUMBER:
      raise ValueError(
        f"the config has no model.skeleton, and of {number} joints none is known: set it to "
        f"{', '.join(SKELETONS)} or a .toml file"
      )
    return _OF_NUMBER[number]
  given = model["skeleton"]
  if isinstance(given, str):
    return read(given)
  # A ConfigDict is a table without being a Mapping.
  if not isinstance(given, Mapping) and not hasattr(given, "items"):
    raise ValueError(
      f"model.skeleton should be a name, a .toml file or a table of fields; got {str(given)[:80]!r}"
    )
  # Records come back from JSON or from a config, whose lists may have become tuples.
  fields = {name: _lists(value) for name, value in dict(given).items()}
  return from_dict(fields, where="model.skeleton")


def record(model: dict[str, Any]) -> dict[str, Any]:
  """A `model` group as it is recorded: a skeleton of one's own in full, since files move."""
  skeleton = of_model(model)
  kept = {name: value for name, value in model.items() if name != "num_joints"}
  own = SKELETONS.get(skeleton.name) != skeleton
  return kept | {"skeleton": to_dict(skeleton) if own else skeleton.name}


def describe(skeleton: Skeleton) -> dict[str, Any]:
  """What a checkpoint's weights depend on; of the first skeletons the number of joints says all."""
  described: dict[str, Any] = {"num_joints": skeleton.num_joints}
  if _OF_NUMBER.get(skeleton.num_joints) != skeleton:
    described["skeleton"] = to_dict(skeleton)
  return described


def _lists(value: Any) -> Any:
  return [_lists(x) for x in value] if isinstance(value, list | tuple) else value


def spoken(name: str) -> str:
  """A joint's name in full: "rwri" is "right wrist", "upper_neck" is "upper neck"."""
  parts = {"ank": "ankle", "kne": "knee", "sho": "shoulder", "elb": "elbow", "wri": "wrist"}
  sides = {"l": "left", "r": "right"}
  part = parts.get(name[1:], name[1:])
  if name[:1] in sides and part in (*parts.values(), "hip"):
    return f"{sides[name[0]]} {part}"
  return name.replace("_", " ")
