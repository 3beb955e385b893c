"""Checkpoints of the original become ours, and ours theirs: strictly, by name, bit for bit."""

import functools
import types

import jax
import numpy as np
import optax
import pytest

from configs import h36m
from epipolar_jax import checkpointing, models, tasks
from epipolar_jax.evaluation import driver
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.inputs import datasets
from epipolar_jax.original import (
  convert_torch,
  export_torch,
  pretrained,
  pth,
  pth_writer,
  torch_names,
)
from epipolar_jax.training import loop
from tests import dots, golden_files
from tests.models import weights


def _config(**fields):
  config = h36m.get_config()
  config.model.backbone_depth = 18
  config.update_from_flattened_dict({f"model.{k.replace('__', '.')}": v for k, v in fields.items()})
  return config


_tiny = functools.partial(_config, width=0.125, deconv_channels=8)


def _wrap(state, *owners):
  return {f"{owner}.{key}": value for owner in owners for key, value in state.items()}


@functools.cache
def _shapes(skeleton="h36m_17", merge="late"):
  config = _tiny(skeleton=skeleton, fusion__merge=merge)
  model = models.build(config.model, config.parity)
  cameras = Cameras(np.zeros((1, 2, 3, 3)), np.zeros((1, 2, 3, 3)), np.zeros((1, 2, 3)))
  init = functools.partial(model.init, train=False)
  return jax.eval_shape(init, jax.random.key(0), np.zeros((1, 2, 32, 32, 3)), cameras)


def _variables(seed=0, **model):
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), _shapes(**model))


def _equal(a, b):
  same = jax.tree.map(np.array_equal, a, b)
  return all(jax.tree.leaves(same))


def test_golden_two_view_checkpoint_converts_and_comes_back_bit_for_bit(tmp_path):
  """The original's checkpoint of epipolarposeR-18 (keys, shapes, recipe weights), legacy format."""
  keys = golden_files.load("models_inputs")["keys/R18_late"]
  state = weights.state_dict(keys)
  wrapped = _wrap(state, "reference.module", "backbone.module")
  source, folder = tmp_path / "model_000.pth", tmp_path / "converted"
  pth_writer.write(source, {"model": wrapped, "optimizer": {"state": {}}, "epoch": 1})
  config = _config()
  table = convert_torch.convert(config, source, folder)
  assert "294 tensors read, 48 of them ignored" in table
  assert "params/backbone/deconv2/kernel" in table

  assert "trained on BGR images: evaluate with --config.parity.bgr=True" in table
  config.parity.bgr = True
  task = tasks.build(config, axis_name=None)
  template = jax.eval_shape(task.init, jax.random.key(0))
  variables, step = checkpointing.restore_variables(folder, template, task.meta)
  assert step == 0
  with pytest.raises(ValueError, match=r"parity\.bgr: the checkpoint has True"):
    checkpointing.restore_variables(folder, template, tasks.build(_config(), axis_name=None).meta)
  kernel = variables["params"]["late_fusion"]["z"]["kernel"]
  np.testing.assert_array_equal(kernel[0, 0].T, state["epipolar_sampler.z.weight"][:, :, 0, 0])

  for bare, expected in ((False, wrapped), (True, state)):
    export_torch.export(config, folder, tmp_path / "out.pth", file_format="zip", bare=bare)
    found = pth.read(tmp_path / "out.pth")
    found = found if bare else found["model"]
    assert found.keys() == expected.keys()
    for key, value in expected.items():
      np.testing.assert_array_equal(found[key], value, strict=True)
  with pytest.raises(FileExistsError, match="is there already"):
    convert_torch.convert(config, source, folder)


@pytest.mark.parametrize("name", ["R18", "R18_late", "R50_both"])
def test_name_rules_are_inverse(name):
  prefixes = {
    "trunk": ("backbone", "trunk"),
    "pose": ("backbone",),
    "epipolar_sampler": ("early_fusion",),
    "epipolar_sampler1": ("late_fusion",),
  }
  for line in golden_files.load("models_inputs")[f"keys/{name}"]:
    key = str(line).split(" ")[0]
    if not key.endswith("num_batches_tracked"):
      assert torch_names.torch_key(torch_names.flax_path(key, prefixes), prefixes) == key


@pytest.mark.parametrize(
  ("joints", "merge", "owners", "fields", "messages"),
  [
    pytest.param(
      20, "late", ("reference.module", "backbone.module"), {},
      [r"final_layer.weight \(1, 1, 8, 20\) here", "20 joints in the file, model.skeleton has 17"],
      id="joint count",
    ),
    pytest.param(
      17, "late", ("module",), {"fusion__merge": "none"},
      [r"epipolar_sampler.z.weight \(8, 8, 1, 1\): no counterpart", "sampler.bn.running_var"],
      id="two views into one",
    ),
    pytest.param(
      17, "none", ("backbone.module",), {},
      ["6 names", "late_fusion/z/kernel: not in", "late_fusion/bn/var: not in"],
      id="one view into two",
    ),
    pytest.param(
      17, "none", ("module",), {"fusion__merge": "none", "backbone_depth": 34},
      ["ours params/backbone/trunk/layer3_5/conv2/kernel: not in the file"],
      id="depth",
    ),
  ],
)  # fmt: skip
def test_what_does_not_match_is_listed(tmp_path, joints, merge, owners, fields, messages):
  state = _wrap(
    torch_names.to_torch(_variables(skeleton={17: "h36m_17", 20: "union_20"}[joints], merge=merge)),
    *owners,
  )
  pth_writer.write(tmp_path / "a.pth", state)
  with pytest.raises(ValueError) as error:
    convert_torch.convert(_tiny(**fields), tmp_path / "a.pth", tmp_path / "out")
  for message in messages:
    error.match(message)
  assert not (tmp_path / "out").exists()


def test_separate_networks_other_types_and_bad_numbers_are_refused():
  state = torch_names.to_torch(_variables())
  wrapped = _wrap(state, "reference.module", "backbone.module")
  wrapped["backbone.module.bn1.weight"] = wrapped["backbone.module.bn1.weight"] + 1
  wrapped["reference.module.conv1.weight"] = state["conv1.weight"].astype(np.float64)
  del wrapped["backbone.module.conv1.weight"]
  wrapped["reference.module.bn1.bias"] = np.full_like(state["bn1.bias"], np.nan)
  del wrapped["backbone.module.bn1.bias"]
  with pytest.raises(ValueError, match="3 names do not match") as error:
    torch_names.to_flax(wrapped, _shapes())
  error.match("backbone.module.bn1.weight differs from the other copy")
  error.match("conv1.weight is float64")
  error.match("bn1.bias has values that are not finite")


def _two_networks(seed=0):
  """Variables of a model whose views are looked at by a network of its own."""
  variables = _variables(seed)
  second = _variables(seed + 1)
  return {
    collection: tree | {"source_backbone": second[collection]["backbone"]}
    for collection, tree in variables.items()
  }


def test_separate_networks_keep_apart_both_ways():
  """SHARE_WEIGHTS False: `reference.module.*` is not `backbone.module.*`."""
  ours = _two_networks()
  state = torch_names.to_torch(ours)
  keys = [key for key in state if key.endswith("deconv_layers.3.weight")]
  assert sorted(keys) == [f"{o}.module.deconv_layers.3.weight" for o in ("backbone", "reference")]
  kernel = ours["params"]["source_backbone"]["deconv2"]["kernel"]
  np.testing.assert_array_equal(state[sorted(keys)[0]], kernel.transpose(2, 3, 0, 1))
  assert "reference.module.epipolar_sampler.z.weight" in state
  assert "backbone.module.epipolar_sampler.z.weight" not in state
  assert _equal(torch_names.to_flax(state, ours), ours)
  del state["backbone.module.conv1.weight"]
  with pytest.raises(ValueError, match=r"ours params/source_backbone/trunk/conv1/kernel: not in"):
    torch_names.to_flax(state, ours)
  shared = _wrap(torch_names.to_torch(_variables()), "reference.module", "backbone.module")
  with pytest.raises(ValueError, match=r"backbone.module.epipolar_sampler.z.weight .* no counterp"):
    torch_names.to_flax(shared, ours)


def test_separate_networks_are_laid_out_like_the_model():
  task = tasks.build(_tiny(share_weights=False), axis_name=None)
  built = jax.eval_shape(task.init, jax.random.key(0))
  ours = jax.tree.map(lambda x: x.shape, _two_networks())
  assert jax.tree.map(lambda x: x.shape, built) == ours


def test_a_converted_checkpoint_evaluates_as_the_network_it_came_from(tmp_path, monkeypatch):
  """Ours to the original's file, that to ours again, and both through the evaluation."""
  monkeypatch.setattr(datasets, "open_split", lambda config, split: dots.frames(4))
  config = dots.config()
  config.parity.bgr = True
  task = tasks.build(config, axis_name=None)
  variables = jax.device_get(task.init(jax.random.key(1, impl="rbg")))
  pth_writer.write(tmp_path / "model.pth", {"model": torch_names.to_torch(variables), "epoch": 1})
  rgb = dots.config()
  convert_torch.convert(rgb, tmp_path / "model.pth", tmp_path / "converted")
  template = jax.eval_shape(task.init, jax.random.key(0))
  restored, step = checkpointing.restore_variables(tmp_path / "converted", template, task.meta)
  one = driver.report(config, variables, step=0, output=tmp_path / "one.json")
  two = driver.report(config, restored, step=step, output=tmp_path / "two.json")
  assert one == two and one["test"]["mpjpe_mm"] > 0
  with pytest.raises(ValueError, match="bgr"):
    meta = tasks.build(rgb, axis_name=None).meta
    checkpointing.restore_variables(tmp_path / "converted", template, meta)


def test_one_network_starts_both():
  single = torch_names.to_torch(_variables(5, skeleton="union_20", merge="none"))
  start = _two_networks(7)
  found, _, kept = pretrained.load_pose(_wrap(single, "backbone.module"), start)
  for name in ("backbone", "source_backbone"):
    kernel = found["params"][name]["deconv1"]["kernel"]
    np.testing.assert_array_equal(kernel.transpose(2, 3, 0, 1), single["deconv_layers.0.weight"])
    assert _equal(found["params"][name]["head"], start["params"][name]["head"])
  assert sum("head" in line for line in kept) == 4
  found, _ = pretrained.load_trunk(_classifier(), start)
  trunks = [found["params"][name]["trunk"] for name in ("backbone", "source_backbone")]
  assert _equal(*trunks) and not _equal(trunks[1], start["params"]["source_backbone"]["trunk"])


def test_half_precision_is_widened_exactly():
  state = torch_names.to_torch(_variables())
  halved = {k: v.astype(np.float16) if v.ndim == 4 else v for k, v in state.items()}
  found = torch_names.to_flax(halved, _shapes())
  kernel = found["params"]["backbone"]["head"]["kernel"]
  assert kernel.dtype == np.float32
  np.testing.assert_array_equal(kernel[0, 0].T, halved["final_layer.weight"][:, :, 0, 0])


def _classifier(seed=1):
  """A torchvision ResNet's state_dict: the trunk and `fc`."""
  state = torch_names.to_torch(_variables(seed))
  trunk = {k: v for k, v in state.items() if k.startswith(("conv1", "bn1", "layer"))}
  return trunk | {"fc.weight": np.zeros((1000, 64), np.float32), "fc.bias": np.zeros(1000)}


def test_imagenet_fills_the_trunk_only(tmp_path):
  path = tmp_path / "resnet18.pth"
  pth_writer.write(path, _classifier())
  start, said = _variables(0), []
  found = pretrained.initialize(start, f"imagenet:{path}", say=said.append)
  full = torch_names.to_flax(torch_names.to_torch(_variables(1)), _shapes())
  for collection in ("params", "batch_stats"):
    trunk = found[collection]["backbone"].pop("trunk")
    assert _equal(trunk, full[collection]["backbone"].pop("trunk"))
    start[collection]["backbone"].pop("trunk")
    assert _equal(found[collection], start[collection])
  assert "all else starts at random" in said[0]
  broken = _classifier()
  del broken["layer4.1.bn2.bias"]
  with pytest.raises(
    ValueError, match=r"1 names do not match:\n  ours .*layer4_1/bn2/bias: not in"
  ):
    pretrained.load_trunk(broken, _variables())


def test_pose_weights_start_a_two_view_network_with_other_joints(tmp_path):
  """`pose_resnet_4.5_pixels_human36m.pth` is such a file: bare, `module.`, other joints."""
  source = _variables(1, skeleton="union_20", merge="none")
  path = tmp_path / "pose.pth"
  pth_writer.write(path, _wrap(torch_names.to_torch(source), "module"))
  start, said = _variables(0), []
  found = pretrained.initialize(start, f"pose:{path}", say=said.append)
  assert jax.tree.structure(found) == jax.tree.structure(start)
  head = {"head": start["params"]["backbone"]["head"]}
  assert _equal(found["params"]["backbone"], source["params"]["backbone"] | head)
  assert _equal(found["batch_stats"]["backbone"], source["batch_stats"]["backbone"])
  assert _equal(found["params"]["late_fusion"], start["params"]["late_fusion"])
  warnings = [line for line in said if line.startswith("WARNING")]
  assert len(warnings) == 2 + 6 and any("20 joints in the file" in line for line in warnings)
  state = torch_names.to_torch(source)
  del state["deconv_layers.0.weight"]
  with pytest.raises(ValueError, match=r"1 names do not match:\n  ours .*deconv1/kernel: not in"):
    pretrained.load_pose(state, start)


def test_a_head_of_20_joints_keeps_those_of_human36m():
  """The original evaluates `actualjoints` of its 20 heatmaps (modeling/model.py)."""
  wide = torch_names.to_torch(_variables(skeleton="union_20"))
  cut = torch_names.to_flax(pretrained.keep_union_joints(wide), _shapes())
  actual = [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 14, 15, 16, 17, 18, 19]
  head = cut["params"]["backbone"]["head"]
  np.testing.assert_array_equal(head["bias"], wide["final_layer.bias"][actual])
  np.testing.assert_array_equal(head["kernel"][0, 0].T, wide["final_layer.weight"][actual, :, 0, 0])
  with pytest.raises(ValueError, match=r"the head has \[17\] joints"):
    pretrained.keep_union_joints(torch_names.to_torch(_variables()))
  with pytest.raises(ValueError, match="the head has no joints"):
    pretrained.keep_union_joints(_classifier())


def test_pose_weights_start_a_lifting_network_and_leave_its_lifter_fresh():
  fresh = {"kernel": np.zeros((1, 1, 4, 17), np.float32), "bias": np.zeros(17, np.float32)}
  lifter = {"pose_head": {"kernel": np.ones((17, 51), np.float32)}}
  tree = {"params": {"backbone": {"head": fresh}, "lifter": lifter}, "batch_stats": {}}
  names = {"final_layer.weight": (17, 4, 1, 1), "final_layer.bias": (17,)}
  state_dict = {f"backbone.module.{k}": weights.tensor(k, shape) for k, shape in names.items()}
  loaded, rows, kept = pretrained.load_pose(state_dict, tree)
  head = loaded["params"]["backbone"]["head"]
  np.testing.assert_array_equal(head["bias"], state_dict["backbone.module.final_layer.bias"])
  assert loaded["params"]["lifter"] == lifter and len(rows) == 2
  assert kept == ["params/lifter/pose_head/kernel: not in the file"]


def test_init_names_what_is_allowed(tmp_path):
  start = _variables()
  assert pretrained.initialize(start, "") is start
  with pytest.raises(ValueError, match=r"'', imagenet:FILE, pose:FILE, checkpoint:FOLDER"):
    pretrained.initialize(start, "resnet.pth")
  pth_writer.write(tmp_path / "a.pth", {"epoch": 3})
  with pytest.raises(pth.CheckpointError, match=r"a\.pth: not a state_dict .* it has epoch"):
    pretrained.initialize(start, f"pose:{tmp_path / 'a.pth'}")


def _own(folder, **model):
  stored = _variables(1, **model)
  checkpointing.write_weights(folder, weights=stored, meta={}, step=9)
  return stored


def test_a_run_starts_from_an_own_checkpoint(tmp_path):
  stored, said = _own(tmp_path / "run" / "checkpoints" / "9"), []
  for folder in (tmp_path / "run", tmp_path / "run" / "checkpoints" / "9"):
    got = pretrained.initialize(_variables(), f"checkpoint:{folder}", say=said.append)
    assert _equal(jax.device_get(got), stored)
  assert len(said) == 2 and "step 9" in said[0] and "optimizer starts afresh" in said[0]


def test_other_joints_and_other_fusion_keep_the_trunk(tmp_path):
  stored, said = _own(tmp_path / "own"), []
  start = _variables(skeleton="union_20", merge="heatmaps")
  got = pretrained.initialize(start, f"checkpoint:{tmp_path / 'own'}", say=said.append)
  assert _equal(got["params"]["backbone"]["trunk"], stored["params"]["backbone"]["trunk"])
  assert _equal(got["batch_stats"]["backbone"], stored["batch_stats"]["backbone"])
  assert _equal(got["params"]["backbone"]["head"], start["params"]["backbone"]["head"])
  assert _equal(got["params"]["heatmap_fusion"], start["params"]["heatmap_fusion"])
  afresh = "\n".join(said)
  assert "starts afresh: params/backbone/head/bias: (17,) there, (20,) here" in afresh
  assert "starts afresh: params/heatmap_fusion/sharpness: not in the checkpoint" in afresh
  assert "this network has none: params/late_fusion/" in afresh


def test_a_checkpoint_of_another_trunk_is_refused(tmp_path):
  _own(tmp_path / "own")
  wide = jax.tree.map(lambda x: np.zeros((*x.shape[:-1], 2 * x.shape[-1])), _variables())
  with pytest.raises(ValueError, match=r"model.init, .*own: .*another network(.|\n)*there, "):
    pretrained.initialize(wide, f"checkpoint:{tmp_path / 'own'}")
  with pytest.raises(FileNotFoundError, match="is not a checkpoint"):
    pretrained.initialize(wide, f"checkpoint:{tmp_path}")


def test_a_single_view_file_starts_the_fusion_of_heatmaps(tmp_path):
  source, start, said = _variables(1, merge="none"), _variables(0, merge="heatmaps"), []
  pth_writer.write(tmp_path / "pose.pth", torch_names.to_torch(source))
  found = pretrained.initialize(start, f"pose:{tmp_path / 'pose.pth'}", say=said.append)
  assert _equal(found["params"]["backbone"], source["params"]["backbone"])
  assert _equal(found["params"]["heatmap_fusion"], start["params"]["heatmap_fusion"])
  assert sum(line.startswith("WARNING") for line in said) == 2


@pytest.mark.parametrize("prefix", ["_orig_mod.", "model.", "module._orig_mod.", "keypoint_head."])
@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", None])
def test_what_other_tools_put_before_names_is_cut(prefix, key, tmp_path):
  source = _variables(1, merge="none")
  state = {f"{prefix}{k}": x for k, x in torch_names.to_torch(source).items()}
  pth_writer.write(tmp_path / "a.pth", {key: state, "epoch": 1} if key else state)
  found = torch_names.to_flax(pretrained.read_state_dict(tmp_path / "a.pth"), source)
  assert _equal(found, source)


def test_a_prefix_that_is_not_known_is_named():
  state = {f"net.{k}": x for k, x in torch_names.to_torch(_variables(merge="none")).items()}
  with pytest.raises(ValueError, match=r"All its names begin with 'net\.': save it again without"):
    torch_names.to_flax(state, _variables(merge="none"))


def test_weights_of_float64_are_one_sentence(tmp_path):
  state = torch_names.to_torch(_variables(merge="none"))
  double = {k: x.astype(np.float64) if x.dtype == np.float32 else x for k, x in state.items()}
  pth_writer.write(tmp_path / "a.pth", double)
  count = sum(x.dtype == np.float64 for x in double.values())
  with pytest.raises(
    pth.CheckpointError, match=rf"a\.pth: .*{count} tensors\) are float64"
  ) as error:
    pretrained.read_state_dict(tmp_path / "a.pth")
  assert "\n" not in str(error.value)


def test_only_fresh_runs_are_initialised_from_a_file(tmp_path):
  path = tmp_path / "resnet18.pth"
  pth_writer.write(path, _classifier())
  config = _tiny(init=f"imagenet:{path}")
  task = types.SimpleNamespace(init=lambda key: _variables(0), meta={"a": 1})
  with checkpointing.open_manager(tmp_path) as manager:
    state, _ = loop._restore_or_init(config, task, optax.sgd(0.1), manager, [])
    fresh = jax.device_get(state.variables)
    assert _equal(fresh["params"]["late_fusion"], _variables(0)["params"]["late_fusion"])
    assert not _equal(fresh, _variables(0))
    loop._save(manager, state, task)
    manager.wait_until_finished()
    path.unlink()
    state, _ = loop._restore_or_init(config, task, optax.sgd(0.1), manager, [])
    assert _equal(jax.device_get(state.variables), fresh)


def test_the_start_is_not_part_of_what_a_checkpoint_must_agree_with():
  with_init = tasks.build(_tiny(init="imagenet:a.pth"), axis_name=None).meta
  assert with_init == tasks.build(_tiny(), axis_name=None).meta
