"""Commands of the pages that are not run by default: what they need that is not here, or take.

Each entry: the page, a part of the command that no other command of the page has, the reason. All
commands of a page that the part is in are meant; a test holds that there is one.
"""

from tests.commands import pages

_H36M = "needs Human3.6M, which may not be passed on"
_RHD = "needs Rendered Hand Pose, which may not be passed on"
_TORCH = "needs PyTorch, which is no requirement"
_ORIGINAL = "needs files of the PyTorch code"
_TPU = "needs a TPU"
_MINE = "tests/data/test_own_data.py makes such a data set and trains on it"

NOT_HERE = (
  ("README.md", "pip uninstall", "is for machines without libGL, in place of the other package"),
  ("docs/predict.md", "#SBATCH", "needs SLURM"),
  ("docs/evaluation.md", "--pairwise pairwise.pkl", _ORIGINAL),
  ("docs/options.md", "model_003.pth", _ORIGINAL),
  ("docs/options.md", "--checkpoint runs/original", f"{_ORIGINAL} and Human3.6M"),
  ("docs/extending.md", "data_cache/mine", _MINE),
  ("docs/extending.md", "--config.data.name=mine", _MINE),
  ("docs/tpu.md", "jax[tpu]", _TPU),
  ("docs/tpu.md", "--config.model.dtype=bfloat16", _TPU),
  ("docs/tpu.md", "python eval.py", _TPU),
  ("docs/tpu.md", "srun", "needs SLURM and Human3.6M"),
  ("docs/benchmarks.md", "--against torch", _TORCH),
  ("data/README.md", "FOLDER", _H36M),
  ("data/README.md", "configs/h36m.py\n", _H36M),
  ("data/README.md", "RHD_published_v2", _RHD),
  ("data/README.md", "configs/lifting_direct_rhd.py", _RHD),
)

_UNTIMED = "minutes or more, not timed"
_QUICK = "four to eight minutes"
_SUITE = "ten minutes on two cores, twenty and more where they are shared"
_RENDERED = "a quarter of an hour for the data set of 3,000 frames, if it is not there yet"
_CLOTHED = "half an hour, and a quarter for the data"
_FULL = "40 minutes on one core, and a quarter for the data"
_OWN = "half an hour at most, by the number of labelled frames"
_LIFTED = "minutes, not timed, and a quarter of an hour for the data"
_IMAGES = "8 to 9 minutes on one core, and a quarter of an hour for the data"

LONG = (
  ("README.md", "configs/synthetic.py", _QUICK),
  ("README.md", "pytest -n 2", _SUITE),
  (".github/CONTRIBUTING.md", "pytest -n 2", _SUITE),
  ("docs/own_data.md", "configs/footage.py", _OWN),
  ("docs/own_data.md", "--checkpoint runs/footage_", "after the training"),
  ("docs/own_data.md", "tools.doubt", "after the training"),
  ("docs/own_data.md", "tools.few_labels", "90 trainings of one to six minutes each"),
  ("docs/viewing.md", "synthetic_full", _RENDERED),
  ("docs/viewing.md", "chromium", "after the viewer's page"),
  ("docs/results.md", "configs/clothed.py", _CLOTHED),
  ("docs/results.md", "tools.results", "after the two trainings"),
  ("docs/results.md", "for seed in 0 1 2", f"six times {_QUICK}"),
  ("docs/results.md", "train.py --config configs/synthetic_full", _FULL),
  ("docs/results.md", "eval.py --config configs/synthetic_full.py", "after the training"),
  ("docs/evaluation.md", "configs/synthetic_full.py", _RENDERED),
  ("docs/evaluation.md", "tools.doubt", "three minutes"),
  ("docs/calibrate.md", "benchmark calibration", "two minutes"),
  ("docs/scaling.md", "benchmark scaling", "a minute and a half"),
  ("docs/fusion.md", "configs/clothed.py", f"twice {_CLOTHED}"),
  ("docs/lifting.md", "configs/lifting_direct_h36m.py", _LIFTED),
  ("docs/lifting.md", "data.synthetic.export", "8 minutes on one core"),
  ("docs/lifting.md", "data.rhd.builder", "after the hands"),
  ("docs/lifting.md", "configs/lifting_direct_rhd.py", "minutes, not timed; after the hands"),
  ("docs/lifting.md", "configs/lifting_h36m.py", _IMAGES),
  ("docs/lifting.md", "configs/lifting_rhd.py", "minutes, not timed; after the hands"),
  ("docs/check.md", "tests.calibration.rig_mistakes", "it goes on until it is stopped"),
  ("docs/scaling.md", "--num_processes 2", _QUICK),
  ("docs/predict.md", "benchmark predict", _UNTIMED),
  ("docs/benchmarks.md", "benchmark predict", _UNTIMED),
  ("docs/benchmarks.md", "benchmark profile", _UNTIMED),
  ("docs/benchmarks.md", "benchmark generator", _UNTIMED),
  ("docs/benchmarks.md", "benchmark movenet", _UNTIMED),
  ("docs/benchmarks.md", "benchmark triangulation", _UNTIMED),
  ("docs/benchmarks.md", "benchmark inputs", _UNTIMED),
  ("docs/reliability.md", "tests.kill", _UNTIMED),
  ("docs/reliability.md", "tests.rot", _UNTIMED),
  ("docs/reliability.md", "tests.fuzz", _UNTIMED),
  ("docs/reliability.md", "tests.bounds", "three to ten minutes and the downloads"),
  ("data/README.md", "--layout h36m", _UNTIMED),
  ("data/README.md", "--raw raw/h36m", "after the stand-in"),
  ("data/README.md", "eval_every=1", "not timed: ResNet-50 at 256 px, for accelerators"),
  ("data/README.md", "--layout rhd", "a quarter of an hour on one core"),
  ("data/README.md", "--raw raw/rhd", "after the stand-in"),
  ("data/README.md", "data.check data_cache", "after a training has made its data"),
)


def entries(command: pages.Command, table: tuple) -> list[tuple[str, str, str]]:
  """Those of a table that are about a command."""
  return [x for x in table if x[0] == command.page and x[1] in f"{command.text}\n"]
