"""What is trained: one `Task` per kind of problem, built by `config.task`."""

import ml_collections

from epipolar_jax.tasks import lifting, lifting_network, multiview
from epipolar_jax.tasks import task as task_module

Task = task_module.Task
choose = task_module.choose
LIFTING = tuple(lifting_network.KINDS)


def build(config: ml_collections.ConfigDict, *, axis_name: str | None) -> Task:
  """The task a config asks for.

  Args:
    config: the whole config.
    axis_name: of the device axis that BN statistics are synchronised over; None for one device.

  Raises:
    ValueError: if `config.task` is unknown.
  """
  builders = {"multiview": multiview.build} | dict.fromkeys(LIFTING, lifting.build)
  return task_module.choose(builders, config.task, "task")(config, axis_name)
