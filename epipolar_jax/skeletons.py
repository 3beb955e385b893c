"""Skeletons: joint names, the tree they form, and which joints swap when an image is mirrored."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Skeleton:
  """A tree of named joints; immutable and hashable, so it can be a static argument.

  Attributes:
    name: for messages and file names.
    joints: one name per joint, in array order.
    parents: index of each joint's parent, -1 for the one root; a parent may come after its child.
    flip_pairs: (right, left) indices that change places when the image is mirrored.

  Raises:
    ValueError: the parents are not a tree over the joints.
  """

  name: str
  joints: tuple[str, ...]
  parents: tuple[int, ...]
  flip_pairs: tuple[tuple[int, int], ...] = ()

  def __post_init__(self):
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


def _skeleton(name: str, tree: tuple[tuple[str, str | None], ...], sides: bool) -> Skeleton:
  """Builds from (joint, parent name) rows; with sides, "r..." and "l..." twins are flip pairs."""
  joints = tuple(joint for joint, _ in tree)
  parents = tuple(-1 if parent is None else joints.index(parent) for _, parent in tree)
  pairs = tuple(
    (i, joints.index("l" + joint[1:]))
    for i, joint in enumerate(joints)
    if sides and joint.startswith("r") and "l" + joint[1:] in joints
  )
  return Skeleton(name, joints, parents, pairs)


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
)


def by_num_joints(num_joints: int) -> Skeleton:
  """The skeleton with this many joints.

  Raises:
    ValueError: there is none; the message lists the known counts.
  """
  known = {s.num_joints: s for s in (H36M_17, UNION_20, RHD_21)}
  if num_joints not in known:
    names = ", ".join(f"{n} ({s.name})" for n, s in known.items())
    raise ValueError(f"no skeleton has {num_joints} joints; known: {names}")
  return known[num_joints]


def spoken(name: str) -> str:
  """A joint's name in full: "rwri" is "right wrist", "upper_neck" is "upper neck"."""
  parts = {"ank": "ankle", "kne": "knee", "sho": "shoulder", "elb": "elbow", "wri": "wrist"}
  sides = {"l": "left", "r": "right"}
  part = parts.get(name[1:], name[1:])
  if name[:1] in sides and part in (*parts.values(), "hip"):
    return f"{sides[name[0]]} {part}"
  return name.replace("_", " ")
