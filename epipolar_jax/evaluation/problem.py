"""`Problem`: what the evaluation of one kind of task adds to the driver."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, Any]
Summary = dict[str, Any]
Rows = dict[tuple[str, ...], Summary]


class Problem(NamedTuple):
  """What is particular to a task; made from a config, so that options are bound already.

  Attributes:
    run: (predict, batch) -> arrays (or dicts of them) with a leading frame axis, on the host;
      `predict` takes a host batch.
    labels: fields of a batch that `summarize` and `picture` need; those a data set has are kept.
    summarize: (predicted, labels) -> JSON-ready numbers of all frames of a split.
    columns: headings over numbers -> key of a row; columns of counts that are all 0 are left out.
    rows: (split, summary) -> rows of the table, by what names them.
    logged: keys of the summary that training logs as `eval/KEY`; the first is told in words.
    protocol: says in words what the numbers mean.
    picture: (images, predicted, labels) -> RGB picture of some frames, or None if there is none.
    film: (images, predicted, labels, fps, hold_s) -> RGB pictures of a film, or None.
    legend: text below the printed table.
    names: headings of the printed table over what names a row.
    boxes_off: what is recorded of the summary of a pass whose boxes are off by `eval.box_error`;
      None where there is no such pass.
  """

  run: Callable[[Callable[[Arrays], Arrays], Arrays], Arrays]
  labels: tuple[str, ...]
  summarize: Callable[[Arrays, Arrays], Summary]
  columns: dict[str, str]
  rows: Callable[[str, Summary], Rows]
  logged: tuple[str, ...]
  protocol: dict[str, Any]
  picture: Callable[[np.ndarray, Arrays, Arrays], np.ndarray] | None
  film: Callable[..., Iterator[np.ndarray]] | None = None
  legend: str = ""
  names: tuple[str, ...] = ("split",)
  boxes_off: Callable[[Summary], Summary] | None = None
