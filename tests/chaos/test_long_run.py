"""A study of 150 trials takes no more of the machine at its end than after its warm-up."""

import pytest
from long_run import WATCHED, watch
from processes import MARK
from small_mnist import prepare_small

from pipeline_lib.home import Home

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
]

TRIALS = 150
# What is kept of a trial: 0.024 MiB of memory (in 1000 of them) and 500 KiB of disk (in 152), 320
# of them weights; a descriptor or a thread that each left behind would be many times as much.
MEBIBYTES, DESCRIPTORS, THREADS, DISK_KIB = 0.25, 0.3, 0.3, 1000.0


@pytest.fixture(scope="module")
def found(mnist, tmp_path_factory):
    root = tmp_path_factory.mktemp("long")
    home = Home(root / "home")
    prepare_small(mnist, home)
    with pytest.MonkeyPatch.context() as patch:
        for name in (MARK, "OMP_NUM_THREADS", "MLFLOW_TRACKING_URI", "PYTHONPATH"):
            patch.setenv(name, "")  # it sets them; they are put back at the end
        patch.delenv("PREFECT_API_URL", raising=False)
        return watch(home, TRIALS, 2, root / "run.log")


def test_every_trial_was_conducted(found):
    assert found.trials >= TRIALS


@pytest.mark.parametrize("kind", WATCHED)
def test_nothing_grows_from_trial_to_trial(found, kind):
    (growth,) = [each for each in found.growth if each.kind == kind]
    assert growth.mebibytes_a_trial < MEBIBYTES
    assert growth.descriptors_a_trial < DESCRIPTORS
    assert growth.threads_a_trial < THREADS


def test_a_trial_takes_a_bounded_part_of_the_disk(found):
    assert found.disk_a_trial < DISK_KIB
