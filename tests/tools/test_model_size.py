"""Sizes against what the original publishes (scripts/compute_complexiy.py and its repository)."""

import functools
import importlib

import pytest

from epipolar_jax.tools import model_size


@functools.cache
def _measure(name):
  config = importlib.import_module(f"configs.{name}").get_config()
  return model_size.measure(config, views=4)


def test_resnet_152_at_384_without_fusion_is_as_large_as_the_originals():
  """68.64 M parameters, 204.24 GMAC: 68,635,472 and 204,236,619,776, summed in float32."""
  everything = model_size.total(_measure("h36m_r152_384_baseline"))
  assert everything.parameters == 68_635_473  # float32 knows multiples of 8 here
  counted = everything.macs_by_output + 4 * everything.normalised
  assert abs(counted - 204_236_619_776) < 1 << 14  # the spacing of float32 there
  # Each input pixel of a transposed convolution meets each weight once: the script counts 4.
  deconv = _measure("h36m_r152_384_baseline")["backbone/deconv"]
  assert deconv.macs_by_output == 4 * deconv.macs
  assert round(everything.macs / 1e9, 2) == 152.39


def test_fusion_adds_what_the_original_prints():
  """68.86 M is everything in the state_dict; 204.44 GMAC is 408,678,498,304 - 204,236,619,776.

  The first of these is two networks, normalisations not counted, and the 1 x 1 convolution z;
  the second is one network with them: the difference is no size of anything.
  """
  parts, plain = _measure("h36m_r152_384"), _measure("h36m_r152_384_baseline")
  everything, single = model_size.total(parts), model_size.total(plain)
  assert everything.parameters - single.parameters == 66_304
  stored = everything.parameters + everything.statistics + everything.normalisations
  assert stored == 68_855_408
  z = parts["late_fusion/z"]
  assert z.macs == 4 * 96 * 96 * 256 * 256
  twice = 2 * single.macs_by_output + z.macs_by_output
  assert abs(twice - 408_678_498_304) < 1 << 15
  # Four reads, one comparison and one sum for each of 64 samples of each pixel.
  assert parts[model_size.ATTENTION].macs == 4 * 96 * 96 * 64 * 256 * 6
  text = model_size.table(parts) + model_size.as_the_original_counts(parts)
  assert "68,701,777   158.43" in text and "68,855,408 numbers" in text


@pytest.mark.parametrize(("views", "pairs"), [(2, 2), (3, 3)])
def test_every_view_looks_at_one_other(views, pairs):
  config = importlib.import_module("configs.synthetic_suits").get_config()
  config.model.fusion.update({"merge": "late", "sources": "nearest"})
  parts = model_size.measure(config, views=views)
  side, samples, width = 96 // 4, 24, 64
  assert parts[model_size.ATTENTION].macs == pairs * side**2 * samples * width * 6
