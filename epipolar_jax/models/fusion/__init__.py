"""Where in the network views meet, and by which layer: one line for each in `FUSIONS`.

A layer is a Flax module in a file of its own, with

- `of_config(group, parity, **network)`, which makes it from a config;
- `matches`, whether each pixel has a match in the view it looks at (`attention.Attended`);
- `logits`, whether what it fuses are logarithms of probabilities.

Layers of features are called as `features.EpipolarFusion` is, layers of heatmaps as
`heatmaps.JointFusion`; what a layer of features finds in a view that is not there is left out, a
layer of heatmaps takes `present` to do so. docs/extending.md adds one.
"""

from typing import Any, NamedTuple

from epipolar_jax.models.fusion import features, heatmaps


class Fusion(NamedTuple):
  """The class of the layer at each place of the network; None where views do not meet.

  Attributes:
    early: after the trunk's first stage.
    late: before the head (the paper).
    heatmaps: after the head, instead of the others.
  """

  early: Any = None
  late: Any = None
  heatmaps: Any = None

  @property
  def layers(self) -> tuple[Any, ...]:
    """Those that there are."""
    return tuple(layer for layer in self if layer is not None)

  @property
  def matches(self) -> bool:
    """Whether each pixel has a match in the view it looks at."""
    return any(layer.matches for layer in self.layers)

  @property
  def logits(self) -> bool:
    """Whether heatmaps are logarithms of probabilities, which cross-entropy trains."""
    return any(layer.logits for layer in self.layers)

  @property
  def pairwise(self) -> bool:
    """Whether a pair of views meets once, so that any view can be shown looking at any other."""
    return len(self.layers) <= 1


# By `model.fusion.merge`.
FUSIONS = {
  "none": Fusion(),
  "early": Fusion(early=features.EpipolarFusion),
  "late": Fusion(late=features.EpipolarFusion),
  "both": Fusion(early=features.EpipolarFusion, late=features.EpipolarFusion),
  "heatmaps": Fusion(heatmaps=heatmaps.JointFusion),
}


def of_model(config: Any) -> Fusion:
  """The fusion of a config's `model` group.

  Raises:
    ValueError: unknown `fusion.merge`.
  """
  merge = config.fusion.merge
  if merge not in FUSIONS:
    raise ValueError(f"model.fusion.merge {merge!r} is not one of {sorted(FUSIONS)}")
  return FUSIONS[merge]


def build(config: Any, parity: Any, **network: Any) -> Fusion:
  """The layers themselves, not their classes, of a config's `model` and `parity` groups.

  Args:
    config: attribute `fusion`, the group that the layers read.
    parity: the group of the original's peculiarities.
    **network: what else a layer may need: num_joints, dtype, bn_momentum, axis_name.

  Raises:
    ValueError: unknown `fusion.merge`, or an option that a layer would ignore.
  """
  kinds = of_model(config)
  return Fusion(*(kind and kind.of_config(config.fusion, parity, **network) for kind in kinds))
