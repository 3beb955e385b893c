"""The skinned body: laws of rigid motion, a float64 oracle of the kinematics, anatomy."""

import functools

import jax
import numpy as np
import pytest
from scipy.spatial import transform

from data.synthetic import body as body_lib
from epipolar_jax import skeletons

POSE = jax.jit(body_lib.pose_body)
SKIN = jax.jit(body_lib.skin)


@pytest.fixture(scope="module")
def body() -> body_lib.Body:
  return body_lib.load()


def random_rotations(rng: np.random.Generator, count: int, sigma: float) -> np.ndarray:
  vectors = rng.normal(scale=sigma, size=(count, 3))
  return transform.Rotation.from_rotvec(vectors).as_matrix().astype(np.float32)


def rest(body: body_lib.Body) -> np.ndarray:
  return np.tile(np.eye(3, dtype=np.float32), (body.num_bones, 1, 1))


def test_identity_pose_is_the_rest_mesh(body):
  vertices, heads, tails = SKIN(body, np.zeros(body.num_shapes, np.float32), rest(body))
  np.testing.assert_allclose(vertices, body.rest_vertices, atol=1e-3)
  np.testing.assert_allclose(heads, body.rest_heads, atol=1e-3)
  np.testing.assert_allclose(tails, body.rest_tails, atol=1e-3)


def test_root_rotation_is_rigid(body):
  rng = np.random.default_rng(0)
  shape, rotations = body_lib.shape_sample(rng), random_rotations(rng, body.num_bones, 0.3)
  turn = random_rotations(rng, 1, 2.0)[0]
  turned = rotations.copy()
  turned[0] = turn @ rotations[0]
  vertices, heads, _ = map(np.asarray, SKIN(body, shape, rotations))
  moved, moved_heads, _ = map(np.asarray, SKIN(body, shape, turned))
  # float32 at 2 m from the origin, through 17 levels: 1e-3 mm measured.
  np.testing.assert_allclose(
    moved - moved_heads[0], (vertices - heads[0]) @ turn.T, atol=5e-3, rtol=0
  )


def test_kinematics_and_skinning_match_a_float64_oracle(body):
  rng = np.random.default_rng(1)
  shape, rotations = body_lib.shape_sample(rng), random_rotations(rng, body.num_bones, 0.4)
  wide = shape.astype(np.float64)
  rest_vertices = body.rest_vertices + np.tensordot(wide, body.shape_vertices, 1)
  rest_heads = body.rest_heads + np.tensordot(wide, body.shape_heads, 1)
  turns, heads = [rotations[0].astype(np.float64)], [rest_heads[0]]
  for bone in range(1, body.num_bones):
    up = body.parents[bone]
    turns.append(turns[up] @ rotations[bone])
    heads.append(heads[up] + turns[up] @ (rest_heads[bone] - rest_heads[up]))
  expected = np.zeros_like(rest_vertices)
  for vertex in range(0, len(expected), 97):
    for bone, weight in zip(body.skin_indices[vertex], body.skin_weights[vertex]):
      local = rest_vertices[vertex] - rest_heads[bone]
      expected[vertex] += weight * (heads[bone] + turns[bone] @ local)
  vertices, posed_heads, _ = SKIN(body, shape, rotations)
  np.testing.assert_allclose(posed_heads, heads, atol=0.01, rtol=0)
  np.testing.assert_allclose(vertices[::97], expected[::97], atol=0.01, rtol=0)


def test_vmap_equals_loop(body):
  rng = np.random.default_rng(2)
  shapes = np.stack([body_lib.shape_sample(rng) for _ in range(2)])
  rotations = np.stack([random_rotations(rng, body.num_bones, 0.3) for _ in range(2)])
  places = rng.normal(scale=500, size=(2, 3)).astype(np.float32)
  batch = jax.jit(jax.vmap(body_lib.pose_body, in_axes=(None, 0, 0, 0)))
  batched = batch(body, shapes, rotations, places)
  for item in range(2):
    single = POSE(body, shapes[item], rotations[item], places[item])
    for got, expected in zip(batched, single):
      np.testing.assert_allclose(got[item], expected, atol=0.01, rtol=0)


def test_every_shape_stands_on_the_floor_under_its_root(body):
  rng = np.random.default_rng(3)
  place = np.array([300.0, -200.0, 50.0], np.float32)
  for _ in range(3):
    vertices, joints = POSE(body, body_lib.shape_sample(rng), rest(body), place)
    assert abs(float(vertices[:, 2].min()) - 50) < 1e-2
    np.testing.assert_allclose(joints[0, :2], place[:2], atol=1e-2)
    assert 1350 < float(np.ptp(vertices[:, 2])) < 2000


def test_skin_weights_and_triangles_are_sane(body):
  np.testing.assert_allclose(body.skin_weights.sum(1), 1, atol=1e-6)
  np.testing.assert_allclose(body.skin_matrix.sum(1), 1, atol=1e-6)
  assert body.triangles.min() == 0 and body.triangles.max() == len(body.rest_vertices) - 1
  assert body.uv_triangles.max() == len(body.uv) - 1
  corners = body.rest_vertices[body.triangles]
  # Counter-clockwise from outside: the signed volume is positive, and that of a person in litres.
  normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
  volume = np.sum(normals * corners.mean(1)) / 6e6
  assert 50 < volume < 110


def test_bones_keep_their_length_in_any_pose(body):
  rng = np.random.default_rng(4)
  shape = body_lib.shape_sample(rng)
  _, heads, tails = SKIN(body, shape, rest(body))
  _, posed_heads, posed_tails = SKIN(body, shape, random_rotations(rng, body.num_bones, 1.0))
  parents = np.array(body.parents[1:])
  for a, b in (
    (heads[1:] - heads[parents], posed_heads[1:] - posed_heads[parents]),
    (tails - heads, posed_tails - posed_heads),
  ):
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1), atol=0.01)


def test_left_is_up_cross_forward_and_joints_are_where_anatomy_says(body):
  _, joints = POSE(body, np.zeros(body.num_shapes, np.float32), rest(body), np.zeros(3, np.float32))
  at = dict(zip(skeletons.H36M_17.joints, np.asarray(joints)))
  forward = (at["nose"] - at["head"]) * [1, 1, 0]
  assert forward[1] < -50
  left = np.cross([0, 0, 1], forward)
  for name in ("hip", "kne", "ank", "sho", "elb", "wri"):
    assert (at[f"l{name}"] - at["root"]) @ left > 0 > (at[f"r{name}"] - at["root"]) @ left
    np.testing.assert_allclose(at[f"l{name}"] * [-1, 1, 1], at[f"r{name}"], atol=0.1)
  heights = [at[name][2] for name in ("lank", "lkne", "root", "belly", "neck", "nose", "head")]
  assert heights == sorted(heights)
  assert body.bone_names[body.parents[body.bone("foot.L")]] == "lowerleg02.L"


def test_the_joints_of_coco_are_where_anatomy_says_and_the_body_where_human36m_puts_it(body):
  rng = np.random.default_rng(6)
  pose = jax.jit(functools.partial(body_lib.pose_body, joints_of=body_lib.h36m_and_coco_joints))
  place = np.array([300.0, -200.0, 50.0], np.float32)
  for _ in range(3):
    arguments = (body, body_lib.shape_sample(rng), rest(body), place)
    vertices, joints = map(np.asarray, pose(*arguments))
    plain_vertices, plain = map(np.asarray, POSE(*arguments))
    np.testing.assert_array_equal(vertices, plain_vertices)
    np.testing.assert_array_equal(joints[:17], plain)
    h36m = dict(zip(skeletons.H36M_17.joints, plain))
    at = dict(zip(skeletons.COCO_17.joints, joints[17:], strict=True))
    for name in sorted(at.keys() & h36m.keys()):
      np.testing.assert_array_equal(at[name], h36m[name])
    assert len(at.keys() & h36m.keys()) == 13
    # It faces -y and its left is at +x; the head's parts are those of an adult.
    middle = h36m["root"][0]
    for side in (1, -1):
      eye, ear = (at[f"{'l' if side > 0 else 'r'}{part}"] for part in ("eye", "ear"))
      assert 20 < side * (eye[0] - middle) < 45 and 60 < side * (ear[0] - middle) < 110
      assert 20 < eye[2] - at["nose"][2] < 65 and 10 < eye[1] - at["nose"][1] < 50
      assert 65 < ear[1] - eye[1] < 130 and abs(ear[2] - eye[2]) < 45
      assert 70 < h36m["head"][2] - ear[2] < 190


def test_eyes_are_on_eyeballs_and_ears_stick_out(body):
  eyeballs = np.unique(body.triangles[body.group == 1])
  assert set(body.eye_vertices) <= set(eyeballs)
  assert not set(body.ear_vertices) & set(eyeballs)
  for left, right in (body.eye_vertices, body.ear_vertices):
    np.testing.assert_array_equal(body.rest_vertices[left] * [-1, 1, 1], body.rest_vertices[right])
  scalp = body.region_mask("scalp")
  assert body.rest_vertices[scalp, 0].max() < body.rest_vertices[body.ear_vertices[0], 0]
  turned = rest(body)
  turn = transform.Rotation.from_euler("z", 50, degrees=True).as_matrix()
  turned[body.bone("head")] = turn
  vertices, heads, _ = map(np.asarray, SKIN(body, np.zeros(body.num_shapes, np.float32), turned))
  pivot = heads[body.bone("head")]
  for vertex in (*body.eye_vertices, *body.ear_vertices):
    expected = (body.rest_vertices[vertex] - body.rest_heads[body.bone("head")]) @ turn.T
    np.testing.assert_allclose(vertices[vertex] - pivot, expected, atol=0.05)


def test_regions_cover_the_body_in_the_right_places(body):
  x, y, z = body.rest_vertices.T
  scalp, face = body.region_mask("scalp"), body.region_mask("face")
  assert z[scalp].mean() > z[face].mean() and y[scalp].mean() > y[face].mean()
  assert face[body.nose_vertex] and scalp[body.crown_vertex]
  assert z[body.region_mask("foot")].max() < 200
  assert np.abs(x[body.region_mask("hand")]).min() > 350
  assert set(np.unique(body.region)) == set(range(len(body.region_names)))


def test_shapes_are_plausible_and_follow_the_seed():
  draw = [body_lib.shape_sample(np.random.default_rng(seed)) for seed in (5, 5, 6)]
  np.testing.assert_array_equal(draw[0], draw[1])
  assert np.abs(draw[0] - draw[2]).max() > 0.1
  assert max(np.abs(shape).max() for shape in draw) <= 2
