"""Where in the network views meet, and what follows from the place: one table."""

from typing import NamedTuple


class Placement(NamedTuple):
  """The fusion layers of a network.

  Attributes:
    early: a layer after the trunk's first stage.
    late: a layer before the head (the paper).
    heatmaps: a layer after the head, each joint for itself.
    matches: features are compared, so each pixel has a match in the view it looks at.
    logits: heatmaps are added as logarithms of probabilities, which cross-entropy trains.
    pairwise: a pair of views meets once, so any view can be shown looking at any other.
  """

  early: bool = False
  late: bool = False
  heatmaps: bool = False
  matches: bool = False
  logits: bool = False
  pairwise: bool = True

  @property
  def fuses(self) -> bool:
    """Whether views meet at all."""
    return self.early or self.late or self.heatmaps


# By `model.fusion.merge`.
PLACEMENTS = {
  "none": Placement(),
  "early": Placement(early=True, matches=True),
  "late": Placement(late=True, matches=True),
  # What the late layer compares has been fused before.
  "both": Placement(early=True, late=True, matches=True, pairwise=False),
  "heatmaps": Placement(heatmaps=True, logits=True),
}
