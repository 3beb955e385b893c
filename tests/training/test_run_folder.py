"""A run folder records what was trained there, and nothing else is trained or claimed in it."""

import json
import pathlib

import jax
import pytest

from configs import synthetic_full
from epipolar_jax import checkpointing, predicting, tasks
from epipolar_jax.evaluation import driver
from epipolar_jax.inputs import datasets
from epipolar_jax.training import loop, run_folder
from tests import runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A finished run of two steps, its config and its state."""
  config = _config()
  folder = tmp_path_factory.mktemp("run")
  with pytest.MonkeyPatch.context() as patch:
    runs.install(patch)
    state, complete = loop.train(config, folder)
  assert complete
  return folder, config, state


def _config(**options):
  config = runs.config(train__num_epochs=0.5, eval__num_images=0)
  config.update_from_flattened_dict(options)
  return config


@pytest.fixture(autouse=True)
def _dots(monkeypatch):
  runs.install(monkeypatch)


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("seed", 1),
    ("optimizer.learning_rate", 0.5),
    ("optimizer.gradient_clip", 0.25),
    ("optimizer.name", "sgd"),
    ("train.batch_size", 2),
    ("train.num_epochs", 2.0),
    ("data.image_size", 64),
    ("data.flip_probability", 0.5),
    ("heatmap.sigma", 3.0),
  ],
)
def test_another_config_is_refused_and_named_before_any_data_are_opened(
  finished, monkeypatch, field, value
):
  folder, _, _ = finished
  monkeypatch.setattr(datasets, "open_split", lambda config, split: pytest.fail("opened data"))
  before = (folder / "config.json").read_bytes()
  with pytest.raises(run_folder.MismatchError, match=field) as refused:
    loop.train(_config(**{field: value}), folder)
  assert f"asked for is {value!r}" in str(refused.value) and "--workdir" in str(refused.value)
  may = field.startswith(("optimizer.", "train.")) and field != "train.batch_size"
  assert ("--allow_changes" in str(refused.value)) == may
  assert (folder / "config.json").read_bytes() == before


def test_a_finished_run_is_not_relabelled_even_when_changes_are_allowed(finished):
  folder, _, _ = finished
  with pytest.raises(run_folder.MismatchError, match=r"complete at step 2 of 2: nothing would be"):
    loop.train(_config(**{"optimizer.learning_rate": 0.5}), folder, allow_changes=True)
  with pytest.raises(run_folder.MismatchError, match="seed"):
    loop.train(_config(seed=1), folder, allow_changes=True)


def test_what_does_not_change_training_may_differ(finished):
  folder, _, _ = finished
  options = {"eval.triangulation": "robust", "train.log_steps": 7, "data.num_threads": 3}
  state, complete = loop.train(_config(**options), folder)
  assert complete and int(state.step) == 2


def test_allowed_changes_are_recorded_beside_what_was(tmp_path, capsys):
  loop.train(_config(), tmp_path, stop_at=1)
  changed = _config(**{"optimizer.learning_rate": 0.5, "train.num_epochs": 1.0})
  state, complete = loop.train(changed, tmp_path, allow_changes=True)
  assert complete and int(state.step) == 4
  said = capsys.readouterr().err
  assert "Resuming at step 1 of 4" in said and "optimizer.learning_rate: the run has" in said
  now = json.loads((tmp_path / "config.json").read_text())
  (earlier,) = json.loads((tmp_path / "config_history.json").read_text())
  assert now["optimizer"]["learning_rate"] == 0.5
  assert earlier == run_folder.as_json(_config())


def test_a_state_that_does_not_fit_the_optimizer_names_its_options(tmp_path):
  loop.train(_config(), tmp_path, stop_at=1)
  with pytest.raises(run_folder.MismatchError, match=r"optimizer.name: .* 'sgd'") as refused:
    loop.train(_config(**{"optimizer.name": "sgd"}), tmp_path, allow_changes=True)
  assert len(str(refused.value)) < 500


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_checkpoint_is_not_taken_for_another_optimizer(tmp_path):
  loop.train(_config(), tmp_path, stop_at=1)
  for file in (tmp_path / "checkpoints" / "1" / "weights").rglob("*"):
    if file.is_file():
      file.write_bytes(b"")
  with pytest.raises(Exception) as failed:
    loop.train(_config(**{"train.num_epochs": 2.0}), tmp_path, allow_changes=True)
  assert not isinstance(failed.value, run_folder.MismatchError)


def test_a_run_without_a_checkpoint_starts_over(tmp_path):
  run_folder.write(tmp_path, _config(seed=3), resumed=False)
  _, complete = loop.train(_config(), tmp_path)
  assert complete
  assert json.loads((tmp_path / "config.json").read_text())["seed"] == 0
  assert not (tmp_path / "config_history.json").exists(), "nothing was trained with the other"


def test_evaluation_names_what_the_run_was_not_trained_with(finished):
  folder, config, _ = finished
  checkpoint = checkpointing.newest(folder)
  assert run_folder.check_evaluation(checkpoint, config) == []
  assert run_folder.check_evaluation(checkpoint, _config(seed=4)) == []
  (said,) = run_folder.check_evaluation(checkpoint, _config(**{"data.name": "rhd"}))
  assert "data.name" in said and "'rhd'" in said
  for field, value in (("data.image_size", 64), ("heatmap.sigma", 3.0)):
    with pytest.raises(run_folder.MismatchError, match=field):
      run_folder.check_evaluation(checkpoint, _config(**{field: value}))
  # What is shipped has its record in its own folder.
  shipped = pathlib.Path(predicting.__file__).parent / "shipped" / "synthetic_full"
  config = synthetic_full.get_config()
  assert run_folder.check_evaluation(shipped, config) == []
  assert run_folder.of_checkpoint(shipped)["seed"] == 0
  config.data.image_size = 256
  with pytest.raises(run_folder.MismatchError, match=r"data.image_size: trained with 128"):
    run_folder.check_evaluation(shipped, config)
  # Weights that were copied out of their run have no record beside them.
  assert run_folder.of_checkpoint(pathlib.Path("data/checkpoints/elsewhere")) is None


def test_eval_json_says_what_was_trained(finished, tmp_path):
  folder, config, state = finished
  trained = run_folder.read(folder)
  output = tmp_path / "eval.json"
  asked = _config(seed=5, **{"eval.triangulation": "dlt_unweighted"})
  driver.report(asked, state.variables, step=2, output=output, trained=trained)
  record = json.loads(output.read_text(), parse_constant=lambda name: pytest.fail(name))
  assert record["seed"] == 0 and record["trained"] == run_folder.as_json(config)
  assert record["config"]["eval"]["triangulation"] == "dlt_unweighted"


def test_an_output_that_cannot_be_written_is_noticed_before_the_evaluation(tmp_path, monkeypatch):
  monkeypatch.setattr(datasets, "open_split", lambda config, split: pytest.fail("opened data"))
  config = _config()
  variables = tasks.build(config, axis_name=None).init(jax.random.key(0, impl="rbg"))
  with pytest.raises(IsADirectoryError, match="name a file in it"):
    driver.report(config, variables, step=0, output=tmp_path)
  (tmp_path / "file").write_text("")
  with pytest.raises(OSError, match="cannot be written"):
    driver.report(config, variables, step=0, output=tmp_path / "file" / "eval.json")
  assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_addresses_of_object_stores_are_no_folders(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match="object stores"):
    loop.train(_config(), pathlib.Path("gs://some-bucket/runs/a"))
  with pytest.raises(ValueError, match=r"--output gs:.*object stores"):
    driver.report(_config(), {}, step=0, output=pathlib.Path("gs://some-bucket/eval.json"))
  assert not list(tmp_path.iterdir())


def test_a_damaged_record_is_said(tmp_path):
  (tmp_path / "config.json").write_text('{"model": {"skeleton": 1e308}}')
  with pytest.raises(ValueError, match=r"config\.json: model\.skeleton should be a name"):
    run_folder.read(tmp_path)
  (tmp_path / "config.json").write_text(100_000 * "[")
  with pytest.raises(ValueError, match="cannot be read"):
    run_folder.read(tmp_path)
  (tmp_path / "config.json").write_text("{")
  with pytest.raises(ValueError, match="cannot be read"):
    run_folder.read(tmp_path)
