"""What is trained and evaluated: one `Task` per kind of problem, chosen by `config.task`."""

import ml_collections

from epipolar_jax.tasks import lifting, multiview
from epipolar_jax.tasks import task as task_module
from epipolar_jax.tasks.lifting import network

Task = task_module.Task
Evaluation = task_module.Evaluation

# A new kind of problem is one function and one line here.
TASKS = {"multiview": multiview.build} | dict.fromkeys(network.KINDS, lifting.build)


def build(config: ml_collections.ConfigDict, *, axis_name: str | None) -> Task:
  """The task a config asks for.

  Args:
    config: the whole config.
    axis_name: of the device axis that BN statistics are synchronised over; None for one device.

  Raises:
    ValueError: if `config.task` is unknown, or an option that the task does not know.
  """
  return task_module.choose(TASKS, config.task, "task")(config, axis_name)
