"""Learning-rate schedules and the optimizer."""

import functools

import jax
import ml_collections
import optax


def learning_rate(
  config: ml_collections.ConfigDict, *, steps_per_epoch: float, num_steps: int
) -> optax.Schedule:
  """The learning rate as a function of the step.

  Args:
    config: the `optimizer` group.
    steps_per_epoch: to turn epochs into steps.
    num_steps: length of the whole run.

  Returns:
    A function from step to learning rate.

  Raises:
    ValueError: if `schedule` is neither step nor cosine.
  """
  peak, warmup = config.learning_rate, round(config.warmup_epochs * steps_per_epoch)
  if config.schedule == "step":
    falls = {round(e * steps_per_epoch) - warmup: 0.1 for e in config.step_epochs}
    main = optax.piecewise_constant_schedule(peak, falls)
  elif config.schedule == "cosine":
    main = optax.cosine_decay_schedule(peak, max(num_steps - warmup, 1))
  else:
    raise ValueError(f"optimizer.schedule is {config.schedule!r}; allowed: step, cosine")
  if not warmup:
    return main
  # Starts at the first fraction, not at zero: a step with rate zero would be wasted.
  rise = optax.linear_schedule(peak / warmup, peak, warmup)
  return optax.join_schedules([rise, main], [warmup])


def optimizer(
  config: ml_collections.ConfigDict, schedule: optax.Schedule
) -> optax.GradientTransformation:
  """Adam or SGD with the options of the `optimizer` group; decay acts on kernels only.

  Raises:
    ValueError: if `name` is neither adam nor sgd.
  """
  rules = {"adam": optax.scale_by_adam, "sgd": functools.partial(optax.trace, decay=0.9)}
  if config.name not in rules:
    raise ValueError(f"optimizer.name is {config.name!r}; allowed: adam, sgd")
  chain = []
  if config.gradient_clip:
    chain.append(optax.clip_by_global_norm(config.gradient_clip))
  chain.append(rules[config.name]())
  if config.weight_decay:
    chain.append(optax.add_decayed_weights(config.weight_decay, mask=_kernels))
  chain.append(optax.scale_by_learning_rate(schedule))
  # Configs of old runs do not have it.
  if (factor := config.get("trunk_factor", 1.0)) != 1.0:
    chain.append(optax.masked(optax.scale(factor), _trunk))
  return optax.chain(*chain)


def _trunk(params: optax.Params) -> optax.Params:
  """True for the parameters of a backbone's trunk, which may be pretrained."""

  def inside(path, _) -> bool:
    return any(getattr(key, "key", None) == "trunk" for key in path)

  return jax.tree_util.tree_map_with_path(inside, params)


def _kernels(params: optax.Params) -> optax.Params:
  """True for weights, False for biases and BN scales, which have one axis."""
  return jax.tree.map(lambda x: x.ndim > 1, params)
