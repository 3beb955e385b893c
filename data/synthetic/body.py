"""The skinned human body: shape, pose and linear blend skinning, in millimetres and z up.

At rest the body stands on z = 0 in an A-pose, faces -y and has its left at +x. Rotations are local
(relative to the parent bone) in axes parallel to the world's, so that identities give the rest
pose. Pose and skinning are JAX, written for one body; vmap them. The asset comes from
`bake_body.py`.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.geometry import linalg

ASSET = pathlib.Path(__file__).parent / "assets" / "body.npz"

# The bone whose head is the joint. The root is the middle of the hips; nose and head are vertices
# (tip of the nose, crown), because Human3.6M puts them on the surface; so are COCO's eyes and ears.
JOINT_BONES = {
  "rhip": "upperleg01.R",
  "rkne": "lowerleg01.R",
  "rank": "foot.R",
  "lhip": "upperleg01.L",
  "lkne": "lowerleg01.L",
  "lank": "foot.L",
  "belly": "spine03",
  "neck": "neck01",
  "lsho": "upperarm01.L",
  "lelb": "lowerarm01.L",
  "lwri": "wrist.L",
  "rsho": "upperarm01.R",
  "relb": "lowerarm01.R",
  "rwri": "wrist.R",
}
# The ears are beyond this share of the head's half width at rest; the skull ends at 0.86 of it.
_EAR = 0.88


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=[
    "rest_vertices",
    "rest_heads",
    "rest_tails",
    "shape_vertices",
    "shape_heads",
    "shape_tails",
    "adults",
    "skin_indices",
    "skin_weights",
    "skin_matrix",
    "triangles",
    "uv_triangles",
    "uv",
    "group",
    "region",
  ],
  meta_fields=[
    *("bone_names", "parents", "region_names"),
    *("nose_vertex", "crown_vertex", "eye_vertices", "ear_vertices"),
  ],
)
@dataclasses.dataclass(frozen=True)
class Body:
  """The mean adult, its shape space, rig and skin; a pytree of numpy arrays.

  Attributes:
    rest_vertices: [V, 3], mm, the mean adult in the rest pose, on the floor.
    rest_heads: [B, 3], mm, where each bone starts (the point it turns about).
    rest_tails: [B, 3], mm, where each bone ends.
    shape_vertices: [C, V, 3], mm of displacement for one standard deviation.
    shape_heads: [C, B, 3], the same for the bone heads.
    shape_tails: [C, B, 3], the same for the bone tails.
    adults: [A, C], the shapes of the random adults behind the components, for `shape_sample`.
    skin_indices: [V, 4] int32, the bones that move a vertex; the first has the largest weight.
    skin_weights: [V, 4], rows sum to one; 0 for an unused slot.
    skin_matrix: [V, B], the same weights, dense.
    triangles: [F, 3] int32, counter-clockwise seen from outside.
    uv_triangles: [F, 3] int32, the same corners as indices into `uv`.
    uv: [U, 2], in [0, 1], v up; MakeHuman's layout, seams make U > V.
    group: [F] uint8, 0 skin, 1 eyeballs.
    region: [V] uint8, index into `region_names`; see `bake_body.region_labels`.
    bone_names: B names; `.L` is the subject's left. Parents come before children.
    parents: B indices, -1 for the root.
    region_names: face, scalp (where hair grows), neck, torso, pelvis, upper_arm and so on.
    nose_vertex: the tip of the nose.
    crown_vertex: the top of the head.
    eye_vertices: the foremost of the left and of the right eyeball.
    ear_vertices: the middle of the left and of the right auricle.
  """

  rest_vertices: np.ndarray
  rest_heads: np.ndarray
  rest_tails: np.ndarray
  shape_vertices: np.ndarray
  shape_heads: np.ndarray
  shape_tails: np.ndarray
  adults: np.ndarray
  skin_indices: np.ndarray
  skin_weights: np.ndarray
  skin_matrix: np.ndarray
  triangles: np.ndarray
  uv_triangles: np.ndarray
  uv: np.ndarray
  group: np.ndarray
  region: np.ndarray
  bone_names: tuple[str, ...]
  parents: tuple[int, ...]
  region_names: tuple[str, ...]
  nose_vertex: int
  crown_vertex: int
  eye_vertices: tuple[int, int]
  ear_vertices: tuple[int, int]

  @property
  def num_bones(self) -> int:
    return len(self.bone_names)

  @property
  def num_shapes(self) -> int:
    return len(self.shape_vertices)

  def bone(self, name: str) -> int:
    """Index of a bone by name."""
    return self.bone_names.index(name)

  def region_mask(self, *names: str) -> np.ndarray:
    """[V] bool, True for the vertices of the named regions."""
    return np.isin(self.region, [self.region_names.index(name) for name in names])


@functools.cache
def load() -> Body:
  """Reads the body asset once."""
  with np.load(ASSET, allow_pickle=False) as asset:
    names = asset["bone_names"].tolist()
    num_vertices, num_bones = len(asset["region"]), len(names)
    cuts = [num_vertices, num_vertices + num_bones]
    rest = np.split(asset["rest"], cuts, 0)
    shape = np.split(asset["shape_components"].astype(np.float32), cuts, 1)
    indices, weights = asset["skin_indices"].astype(np.int32), asset["skin_weights"]
    weights = weights.astype(np.float32) / weights.sum(1, keepdims=True, dtype=np.float32)
    matrix = np.zeros((num_vertices, num_bones), np.float32)
    np.add.at(matrix, (np.arange(num_vertices)[:, None], indices), weights)
    return Body(
      rest_vertices=rest[0],
      rest_heads=rest[1],
      rest_tails=rest[2],
      shape_vertices=shape[0],
      shape_heads=shape[1],
      shape_tails=shape[2],
      adults=asset["adults"].astype(np.float32),
      skin_indices=indices,
      skin_weights=weights,
      skin_matrix=matrix,
      triangles=asset["triangles"].astype(np.int32),
      uv_triangles=asset["uv_triangles"].astype(np.int32),
      uv=asset["uv"].astype(np.float32) / 65535,
      group=asset["group"],
      region=asset["region"],
      bone_names=tuple(names),
      parents=tuple(asset["parents"].tolist()),
      region_names=tuple(asset["region_names"].tolist()),
      nose_vertex=int(asset["nose_vertex"]),
      crown_vertex=int(asset["crown_vertex"]),
      eye_vertices=_eyes(rest[0], np.unique(asset["triangles"][asset["group"] == 1])),
      ear_vertices=_ears(rest[0], np.flatnonzero(indices[:, 0] == names.index("head"))),
    )


def _eyes(rest: np.ndarray, eyeballs: np.ndarray) -> tuple[int, int]:
  """Of the vertices [n] of both eyeballs the foremost on the left and on the right."""
  foremost = eyeballs[np.argsort(rest[eyeballs, 1], kind="stable")]
  left = rest[foremost, 0] > 0
  return int(foremost[left][0]), int(foremost[~left][0])


def _ears(rest: np.ndarray, head: np.ndarray) -> tuple[int, int]:
  """Of the vertices [n] of the head those nearest to the middles of the left and right ear.

  Ears are what stands out furthest on either side.
  """
  found = []
  for side in (1.0, -1.0):
    outward = side * rest[head, 0]
    ear = head[outward > _EAR * outward.max()]
    middle = (rest[ear].min(0) + rest[ear].max(0)) / 2
    found.append(int(ear[np.linalg.norm(rest[ear] - middle, axis=1).argmin()]))
  return found[0], found[1]


def shape_sample(rng: np.random.Generator) -> np.ndarray:
  """A plausible adult: [C] standard deviations, none beyond 2.

  One of the 600 random adults that the shape space was made from, disturbed: the first components
  are far from normal (two sexes), and independent draws give bodies that are neither.
  """
  adults = load().adults
  shape = adults[rng.integers(len(adults))] + 0.25 * rng.normal(size=adults.shape[1])
  return np.clip(shape, -2, 2).astype(np.float32)


def forward_kinematics(
  heads: jax.Array, rotations: jax.Array, parents: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
  """Chains local rotations down the tree, one batched product per level.

  Args:
    heads: [B, 3], mm, bone heads at rest; bones are ordered by depth.
    rotations: [B, 3, 3], local.
    parents: B indices, -1 for the root.

  Returns:
    rotations: [B, 3, 3], from rest to posed axes.
    heads: [B, 3], mm, posed; the root's head stays where it is at rest.
  """
  level_rotations, level_heads = [rotations[:1]], [heads[:1]]
  for start, stop in _levels(parents):
    # All parents of a level lie in the level above, which is the last one computed.
    up = np.array(parents[start:stop])
    first = start - len(level_heads[-1])
    turned = level_rotations[-1][up - first]
    offset = heads[start:stop] - heads[up]
    level_rotations.append(linalg.einsum("nij,njk->nik", turned, rotations[start:stop]))
    level_heads.append(level_heads[-1][up - first] + linalg.einsum("nij,nj->ni", turned, offset))
  return jnp.concatenate(level_rotations), jnp.concatenate(level_heads)


def _levels(parents: tuple[int, ...]) -> list[tuple[int, int]]:
  """Slices of bones of equal depth, the root's own left out."""
  levels, start = [], 1
  while start < len(parents):
    above = levels[-1][0] if levels else 0
    stop = start
    while stop < len(parents) and above <= parents[stop] < start:
      stop += 1
    levels.append((start, stop))
    start = stop
  return levels


def skin(
  body: Body, shape: jax.Array, bone_rotations: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Shapes, poses and skins one body about the root bone's rest position (linear blend skinning).

  Args:
    body: the asset.
    shape: [C], in standard deviations.
    bone_rotations: [B, 3, 3], local.

  Returns:
    vertices: [V, 3], mm.
    heads: [B, 3], mm, posed bone heads.
    tails: [B, 3], mm, posed bone tails (finger tips are tails).
  """
  rest = body.rest_vertices + linalg.einsum("c,cnj->nj", shape, body.shape_vertices)
  rest_heads = body.rest_heads + linalg.einsum("c,cnj->nj", shape, body.shape_heads)
  rest_tails = body.rest_tails + linalg.einsum("c,cnj->nj", shape, body.shape_tails)
  rotations, heads = forward_kinematics(rest_heads, bone_rotations, body.parents)
  tails = heads + linalg.einsum("nij,nj->ni", rotations, rest_tails - rest_heads)
  moves = heads - linalg.einsum("nij,nj->ni", rotations, rest_heads)
  transforms = jnp.concatenate([rotations, moves[..., None]], -1)
  # A dense product over all bones: four gathers per vertex are 5 times slower once vmapped.
  blended = linalg.einsum("vb,bij->vij", body.skin_matrix, transforms)
  vertices = jnp.sum(blended[..., :3] * rest[:, None], -1) + blended[..., 3]
  return vertices, heads, tails


JointsOf = Callable[[Body, jax.Array, jax.Array, jax.Array], jax.Array]
# What the joints of a data set may be.
SKELETONS = {s.name: s for s in (skeletons.H36M_17, skeletons.COCO_17)}


def h36m_joints(body: Body, vertices: jax.Array, heads: jax.Array, tails: jax.Array) -> jax.Array:
  """[17, 3] from a posed body, in the order of Human3.6M (`skeletons.H36M_17`); see `skin`."""
  return _joints(skeletons.H36M_17, body, vertices, heads)


def h36m_and_coco_joints(
  body: Body, vertices: jax.Array, heads: jax.Array, tails: jax.Array
) -> jax.Array:
  """[17 + 17, 3]: the joints of Human3.6M, which place a body, then those of COCO."""
  both = (skeletons.H36M_17, skeletons.COCO_17)
  return jnp.concatenate([_joints(skeleton, body, vertices, heads) for skeleton in both])


def _joints(skeleton, body, vertices, heads):
  """The joints of a skeleton by their names."""
  at = {name: heads[body.bone(bone)] for name, bone in JOINT_BONES.items()}
  at["root"] = (at["rhip"] + at["lhip"]) / 2
  at["nose"] = vertices[body.nose_vertex]
  at["head"] = vertices[body.crown_vertex]
  for side, eye, ear in zip("lr", body.eye_vertices, body.ear_vertices):
    at[f"{side}eye"], at[f"{side}ear"] = vertices[eye], vertices[ear]
  return jnp.stack([at[name] for name in skeleton.joints])


def pose_body(
  body: Body,
  shape: jax.Array,
  bone_rotations: jax.Array,
  translation: jax.Array,
  joints_of: JointsOf = h36m_joints,
) -> tuple[jax.Array, jax.Array]:
  """Shapes, poses and places one body; every shape stands on the floor by construction.

  Args:
    body: the asset, from `load`.
    shape: [C], in standard deviations, see `shape_sample`.
    bone_rotations: [B, 3, 3], local; the root's is the orientation in the world.
    translation: [3], mm: x and y of the root joint (middle of the hips) in the world, and the
      height of the lowest vertex above the floor (0 unless in the air).
    joints_of: picks the joints, given body, vertices, bone heads and tails; the first is the root.

  Returns:
    vertices: [V, 3], mm, world.
    joints: [j, 3], mm, world.
  """
  vertices, heads, tails = skin(body, shape, bone_rotations)
  joints = joints_of(body, vertices, heads, tails)
  origin = jnp.concatenate([joints[0, :2], jnp.min(vertices[:, 2:], 0)])
  move = (translation - origin)[None]
  return vertices + move, joints + move
