import numpy as np
from torch import Tensor, nn

from pipeline_lib.data.examples import MappedExamples
from pipeline_lib.evaluation.perturbations import PERTURBATIONS, accuracy_when_perturbed


class Brightest(nn.Module):
    """Says which quarter of the picture is the brightest: 0 … 3."""

    def forward(self, images: Tensor) -> Tensor:
        quarters = images.unfold(2, 14, 14).unfold(3, 14, 14)  # (B, 1, 2, 2, 14, 14)
        return quarters.mean((1, 4, 5)).flatten(1)


def pictures(side: int, inset: int, count: int = 64) -> MappedExamples:
    """White squares of `side` pixels, `inset` pixels from the corner of one quarter each."""
    labels = np.arange(count) % 4
    images = np.zeros((count, 1, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 14 * (label // 2) + inset, 14 * (label % 2) + inset
        image[0, row : row + side, column : column + side] = 255
    return MappedExamples(images, labels)


def test_a_square_well_inside_stays_where_it_is() -> None:
    found = accuracy_when_perturbed(Brightest(), pictures(side=6, inset=4))
    assert list(found) == list(PERTURBATIONS)
    assert set(found.values()) == {1.0}


def test_a_dot_on_the_edge_is_shifted_out_and_drowned_by_no_noise() -> None:
    found = accuracy_when_perturbed(Brightest(), pictures(side=2, inset=0))
    shifted, turned, noisy = found.values()
    assert shifted < 1.0
    assert turned < 1.0
    assert noisy > 0.9


def test_a_faint_picture_drowns_in_noise_and_the_same_again_gives_the_same() -> None:
    clear = pictures(side=2, inset=5)
    faint = MappedExamples(clear.images // 64, clear.targets)
    found = accuracy_when_perturbed(Brightest(), faint)
    *moved, noisy = found.values()
    assert moved == [1.0, 1.0]
    assert noisy < 0.9
    assert accuracy_when_perturbed(Brightest(), faint) == found
