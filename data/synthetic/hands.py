"""The hands of the body: 42 keypoints, mask ids, and random poses within natural limits.

Keypoints and ids are those of Rendered Hand Pose (`data/rhd/annotations.py`). Angles are about axes
found on the body at rest: a finger closes towards the palm, spreads in the plane of the palm, and
the arm bends so that the wrist comes to a point drawn before the chest.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import transform

from data.synthetic import body as body_lib
from epipolar_jax import skeletons

Rotation = transform.Rotation
SIDES = ("L", "R")
PERSON_ID = 1
# Thumb to little finger; each closes from 0 (straight) to 1 (fist).
GESTURES = {
  "open": (0.0, 0.0, 0.0, 0.0, 0.0),
  "relaxed": (0.3, 0.3, 0.35, 0.4, 0.45),
  "fist": (0.9, 1.0, 1.0, 1.0, 1.0),
  "point": (0.6, 0.05, 0.95, 1.0, 1.0),
  "two": (0.8, 0.0, 0.05, 0.95, 1.0),
  "three": (0.0, 0.0, 0.05, 0.9, 0.95),
  "four": (0.9, 0.0, 0.0, 0.05, 0.05),
  "thumb up": (0.0, 1.0, 1.0, 1.0, 1.0),
  "pinch": (0.5, 0.5, 0.3, 0.3, 0.35),
  "ring": (0.55, 0.6, 0.15, 0.1, 0.1),
  "horns": (0.7, 0.05, 0.95, 0.95, 0.05),
  "claw": (0.4, 0.55, 0.55, 0.55, 0.55),
}
# Degrees from the body at rest, whose fingers are slightly bent: knuckle, middle, end joint.
_FIST_DEG = np.array([78.0, 92.0, 58.0])
_THUMB_FIST_DEG = np.array([12.0, 38.0, 60.0])
_LEAST_DEG, _MOST_DEG = np.array([-22.0, -8.0, -6.0]), np.array([85.0, 100.0, 68.0])
# Of the index to the little finger, towards the thumb, in a fully spread hand.
_SPREAD_DEG = np.array([13.0, 2.0, -9.0, -18.0])
# Forearm turn, wrist flexion, wrist deviation: standard deviation and limit.
_WRIST_DEG = ((45.0, 80.0), (22.0, 55.0), (9.0, 20.0))
# Share of its length that an arm may reach; straighter ones look locked.
_REACH = (0.45, 0.96)


def joints_of(
  body: body_lib.Body, vertices: jax.Array, heads: jax.Array, tails: jax.Array
) -> jax.Array:
  """[17 + 42, 3]: the joints of Human3.6M, then both hands, from a posed body; see `body.skin`."""
  points = [body_lib.h36m_joints(body, vertices, heads, tails)]
  for side in SIDES:
    rows = [heads[body.bone(f"wrist.{side}")]]
    for finger in range(1, 6):
      bones = [body.bone(f"finger{finger}-{segment}.{side}") for segment in (3, 2, 1)]
      rows += [tails[bones[0]], *(heads[bone] for bone in bones)]
    points.append(jnp.stack(rows))
  return jnp.concatenate(points)


def mask_ids(body: body_lib.Body) -> np.ndarray:
  """[F] uint8, the mask id of every triangle: the part that moves its corners most."""
  owner = np.full(body.num_bones, PERSON_ID)
  for first, side in ((2, "L"), (18, "R")):
    for name, part in _parts():
      owner[body.bone(f"{name}.{side}")] = first + part
  share = np.zeros((len(body.skin_matrix), 34), np.float32)
  np.add.at(share.T, owner, body.skin_matrix.T)
  return share[body.triangles].sum(1).argmax(1).astype(np.uint8)


def _parts() -> list[tuple[str, int]]:
  """Bones of a hand and which of its 16 parts they move: three of each finger, then the palm."""
  segments = [
    (f"finger{finger}-{segment}", 3 * (finger - 1) + 3 - segment)
    for finger in range(1, 6)
    for segment in (1, 2, 3)
  ]
  return segments + [(name, 15) for name in ("wrist", *(f"metacarpal{i}" for i in range(1, 5)))]


@functools.cache
def shown_by() -> tuple[tuple[int, ...], ...]:
  """Parts (0..15) beside each of the 21 keypoints: it is seen where one of them is."""
  parts = [(15,)]
  for finger in range(5):
    tip = 3 * finger
    # The thumb's base is at the wrist; its neighbour, like that of the knuckles, is the palm.
    parts += [(tip,), (tip, tip + 1), (tip + 1, tip + 2), (tip + 2, 15)]
  assert len(parts) == skeletons.RHD_21.num_joints
  return tuple(parts)


@dataclasses.dataclass(frozen=True)
class _Axes:
  """Axes of one arm on the mean body at rest, unit vectors.

  Attributes:
    flexion: [5, 3], thumb to little finger; a positive turn closes it.
    spread: [5, 3], a positive turn moves a finger towards the thumb, the thumb before the palm.
    forearm: [3], elbow to wrist.
    wrist_flexion: [3], a positive turn bends the palm towards the forearm.
    palm: [3], out of the palm.
    elbow: [3], a positive turn bends the arm.
  """

  flexion: np.ndarray
  spread: np.ndarray
  forearm: np.ndarray
  wrist_flexion: np.ndarray
  palm: np.ndarray
  elbow: np.ndarray


@functools.cache
def _axes(side: str) -> _Axes:
  body = body_lib.load()

  def head(name):
    return body.rest_heads[body.bone(f"{name}.{side}")].astype(np.float64)

  def bone(name):
    index = body.bone(f"{name}.{side}")
    return _unit((body.rest_tails[index] - body.rest_heads[index]).astype(np.float64))

  across = head("finger2-1") - head("finger5-1")
  palm = _unit(np.cross(head("finger3-1") - head("wrist"), across))
  # Fingers are slightly closed at rest.
  closing = sum(bone(f"finger{f}-3") - bone(f"finger{f}-1") for f in range(2, 6))
  palm *= np.sign(palm @ closing)
  flexion = [_unit(np.cross(bone("finger1-1"), bone("finger1-3")))]
  spread = [np.cross(bone("finger1-1"), flexion[0])]
  spread[0] *= np.sign(np.cross(spread[0], bone("finger1-1")) @ palm)
  for finger in range(2, 6):
    along = bone(f"finger{finger}-1")
    flexion.append(_unit(np.cross(along, palm)))
    spread.append(palm * np.sign(np.cross(palm, along) @ across))
  upper = head("lowerarm01") - head("upperarm01")
  lower = head("wrist") - head("lowerarm01")
  return _Axes(
    flexion=np.stack(flexion),
    spread=np.stack(spread),
    forearm=_unit(lower),
    wrist_flexion=_unit(np.cross(lower, palm)),
    palm=palm,
    elbow=_unit(np.cross(upper, lower)),
  )


def sample_fingers(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
  """Draws a hand: a gesture, disturbed, with neighbouring fingers and joints coupled.

  Returns:
    flexion: [5, 3] degrees from rest, thumb to little finger, base to tip.
    spread: [5] degrees towards the thumb; of the thumb, away from the palm.
  """
  gestures = np.array(list(GESTURES.values()))
  closed = gestures[rng.integers(len(gestures))]
  if rng.random() < 0.35:
    # Half way to another one: most hands are not signs.
    closed = closed + rng.random() * (gestures[rng.integers(len(gestures))] - closed)
  own = rng.normal(0, 0.1, 5)
  # Ring and little finger hardly move alone.
  closed = np.clip(closed + rng.normal(0, 0.06) + own + 0.5 * np.roll(own, 1), -0.15, 1.05)
  balance = rng.uniform(0.6, 1.1, 2)
  share = np.array([balance[0], balance[1], balance[1]])
  flexion = closed[:, None] * _FIST_DEG * share + rng.normal(0, 4, (5, 3)) - [6, 4, 2]
  # The two outer joints share a tendon.
  flexion[:, 2] = 0.5 * flexion[:, 2] + 0.32 * flexion[:, 1]
  flexion[0] = closed[0] * _THUMB_FIST_DEG + rng.normal(0, 6, 3) - [4, 4, 8]
  flexion = np.clip(flexion, _LEAST_DEG, _MOST_DEG)
  openness = np.clip(1 - closed[1:], 0, 1)
  spread = np.empty(5)
  spread[1:] = rng.uniform(-0.2, 1.0) * _SPREAD_DEG * openness + rng.normal(0, 2, 4) * openness
  # Over a fist the thumb lies before the fingers.
  spread[0] = rng.uniform(-12, 14) + 14 * closed[1:3].mean() * (closed[0] > 0.4)
  return flexion, spread


def pose_hand(local: np.ndarray, side: str, flexion: np.ndarray, spread: np.ndarray) -> None:
  """Sets the fingers of one hand.

  Args:
    local: [B, 3, 3], rotations of the bones; changed in place.
    side: "L" or "R".
    flexion: [5, 3] degrees.
    spread: [5] degrees.
  """
  body, axes = body_lib.load(), _axes(side)
  for finger in range(5):
    for segment in range(3):
      turn = _turn(axes.flexion[finger], flexion[finger, segment])
      if segment == 0:
        turn = _turn(axes.spread[finger], spread[finger]) @ turn
      local[body.bone(f"finger{finger + 1}-{segment + 1}.{side}")] = turn


def pose_arm(local: np.ndarray, side: str, heads: np.ndarray, rng: np.random.Generator) -> None:
  """Brings one hand to a random place around the chest, its forearm and wrist turned at random.

  Args:
    local: [B, 3, 3], rotations of the bones; changed in place.
    side: "L" or "R".
    heads: [B, 3] mm, of the bones of this body at rest.
    rng: draws the place and the turns.
  """
  body, axes = body_lib.load(), _axes(side)
  out = 1.0 if side == "L" else -1.0
  shoulder, elbow, wrist = (
    heads[body.bone(f"{name}.{side}")] for name in ("upperarm01", "lowerarm01", "wrist")
  )
  if rng.random() < 0.8:
    place = [out * rng.uniform(-180, 260), -rng.uniform(200, 520), rng.uniform(-380, 240)]
  else:
    place = [out * rng.uniform(140, 380), rng.uniform(-220, 40), rng.uniform(-520, -250)]
  upper, lower = np.linalg.norm(elbow - shoulder), np.linalg.norm(wrist - elbow)
  distance = np.linalg.norm(place)
  reach = np.clip(distance, _REACH[0] * (upper + lower), _REACH[1] * (upper + lower))
  along = np.array(place) / distance
  down = np.array([out * rng.uniform(0.1, 0.9), rng.uniform(0.0, 0.4), -1.0])
  down = _unit(down - (down @ along) * along)
  cosine = (upper**2 + reach**2 - lower**2) / (2 * upper * reach)
  bent = upper * (cosine * along + np.sqrt(1 - cosine**2) * down)
  new_upper, new_lower = bent / upper, (reach * along - bent) / lower
  hinge = _unit(np.cross(new_upper, new_lower))
  turns = [
    _frame(new, hinge) @ _frame(_unit(rest), axes.elbow).T
    for new, rest in ((new_upper, elbow - shoulder), (new_lower, wrist - elbow))
  ]
  twist, flexion, deviation = (
    np.clip(rng.normal(0, sigma), -limit, limit) for sigma, limit in _WRIST_DEG
  )
  half = _turn(axes.forearm, twist / 2)
  parts = {
    "clavicle": np.eye(3),
    "shoulder01": np.eye(3),
    "upperarm01": turns[0],
    "upperarm02": np.eye(3),
    "lowerarm01": turns[0].T @ turns[1],
    "lowerarm02": half,
    "wrist": half @ _turn(axes.palm, deviation) @ _turn(axes.wrist_flexion, flexion),
  }
  for name, rotation in parts.items():
    local[body.bone(f"{name}.{side}")] = rotation


def _frame(along: np.ndarray, hinge: np.ndarray) -> np.ndarray:
  """Columns: a direction, a perpendicular axis and their cross product."""
  return np.stack([along, hinge, np.cross(along, hinge)], -1)


def _turn(axis: np.ndarray, degrees: float) -> np.ndarray:
  return Rotation.from_rotvec(axis * np.radians(degrees)).as_matrix()


def _unit(vector: np.ndarray) -> np.ndarray:
  return vector / np.linalg.norm(vector)
