"""Images of two cameras exchanged: joints found in a view then fit the labels of another one.

Labels, cameras and boxes agree with each other in such data, so nothing else notices.
"""

import numpy as np

# The joints found are this much nearer to another view's labels than to their own,
_RATIO = 0.5
# and no further from them than this share of the network's input: the network does find people.
_SHARE = 0.1


def doubts(
  points: np.ndarray, labels: np.ndarray, labelled: np.ndarray, crop: np.ndarray, size: int
) -> list[str]:
  """A sentence for each view whose image seems to be another camera's.

  Args:
    points: [n, v, j, 2], joints found, network px.
    labels: [n, v, j, 2], stored px.
    labelled: [n, v, j] bool.
    crop: [n, v, 2, 3], stored px to network px.
    size: side of the network's input, px.
  """
  views, found = points.shape[1], []
  for view in range(views):
    # The labels of every view as if they were this one's.
    turned = np.einsum("nab,nvjb->nvja", crop[:, view, :, :2], labels)
    turned += crop[:, view, :, 2][:, None, None]
    distance = np.linalg.norm(turned - points[:, view, None], axis=-1)
    medians = [
      np.median(x[known]) if (known := labelled[:, other] & labelled[:, view]).any() else np.inf
      for other, x in enumerate(np.moveaxis(distance, 1, 0))
    ]
    best = int(np.argmin(medians))
    if medians[best] < min(_RATIO * medians[view], _SHARE * size):
      found.append(
        f"joints found in view {view} lie {medians[best]:.1f} px from the labels of view {best} "
        f"and {medians[view]:.1f} px from its own (median): are their images swapped?"
      )
  return found
