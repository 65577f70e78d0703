import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline_lib.data.problem import Image
from pipeline_lib.errors import ModelError
from pipeline_lib.families.convnet import BASE_MULTIPLY_ADDS
from pipeline_lib.models import book, convnet
from pipeline_lib.models.convnet import multiply_adds
from pipeline_lib.models.saved import (
    ARCHITECTURE,
    WEIGHTS,
    build_model,
    load_model,
    save_model,
)
from pipeline_lib.training.size import size_of

CONVNET = {
    "multiply_adds": 3e5,
    "stem": "stride",
    "stem_kernel": 5,
    "conv3": 1.0,
    "padding": "valid",
    "fc": 0,
    "dropout": 0.0,
}

convnets = st.fixed_dictionaries(
    {
        "multiply_adds": st.floats(2e5, 1.5e7),
        "stem": st.sampled_from(["stride", "pool"]),
        "stem_kernel": st.sampled_from([3, 5]),
        "conv3": st.sampled_from([0.0, 1.0, 1.5, 2.0]),
        "padding": st.sampled_from(["valid", "same"]),
        "fc": st.sampled_from([0, 64, 128]),
        "dropout": st.floats(0.0, 0.3),
        "double": st.booleans(),
        "upright": st.booleans(),
    }
)


@st.composite
def books(draw):
    configuration = {
        "num_conv_layers": draw(st.integers(1, 4)),
        "conv_dropout": draw(st.floats(0.1, 0.4)),
        "num_fc_layers": draw(st.integers(1, 2)),
    }
    for i in range(configuration["num_conv_layers"]):
        configuration[f"conv_depth_{i}"] = draw(st.integers(16, 64))
    for i in range(configuration["num_fc_layers"]):
        configuration[f"fc_output_feat_{i}"] = draw(st.integers(16, 64))
        configuration[f"fc_dropout_{i}"] = draw(st.floats(0.1, 0.4))
    return configuration


configurations = convnets | books()
shapes = st.sampled_from([(1, 28, 28), (3, 32, 32), (2, 28, 36)])


def design(configuration, shape, classes):
    module = book if "num_conv_layers" in configuration else convnet
    return module.design(configuration, shape, classes)


def images_of(shape, count=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)


def counted(model, shape):
    """Multiply-adds of one image, counted while it passes through."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        reach = module.weight[0].numel()  # inputs that make one output
        total += output[0].numel() * reach

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    model.eval()(images_of(shape, 1))
    return total


def trained_a_little(architecture, shape):
    """A network whose statistics, and normalisation, are no longer those of a fresh one."""
    model = build_model(architecture)
    for module in model.modules():
        if isinstance(module, convnet.Normalise):
            module.set_from(images_of(shape, 20))
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias)
    model.train()(images_of(shape, 20))
    return model.eval()


@settings(max_examples=20)
@given(configurations, shapes, st.integers(2, 47))
def test_multiply_adds_are_those_that_happen(configuration, shape, classes):
    architecture = design(configuration, shape, classes)
    model = build_model(architecture)
    assert size_of(model, Image(*shape)).multiply_adds == counted(model, shape)
    assert model(images_of(shape)).shape == (3, classes)


@settings(max_examples=20)
@given(convnets, shapes)
def test_the_design_of_a_convnet_counts_as_its_network_does(configuration, shape):
    architecture = design(configuration, shape, 10)
    assert multiply_adds(architecture) == counted(build_model(architecture), shape)


@settings(max_examples=20)
@given(convnets, shapes)
def test_a_convnet_is_the_widest_within_its_multiply_adds(configuration, shape):
    architecture = design(configuration, shape, 10)
    all_of_them = [
        dict(architecture, convolutions=list(convnet._convolutions(configuration, base)))
        for base in convnet.BASE_WIDTHS
    ]
    sizes = [multiply_adds(each) for each in all_of_them]
    fitting = [size for size in sizes if size <= configuration["multiply_adds"]]
    assert multiply_adds(architecture) == max(fitting, default=sizes[0])


@settings(max_examples=50)
@given(convnets, st.sampled_from(convnet.BASE_WIDTHS))
def test_widths_fill_registers(configuration, base):
    for convolution in convnet._convolutions(configuration, base):
        width = convolution["width"]
        assert width % 16 == 0 or width in (4, 8)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_even_the_smallest_network_of_the_default_space_is_within_its_limit(shape):
    """The smallest proposal is a fifth of the limit; four channels may cost somewhat more."""
    for padding, fc, stem in itertools.product(["valid", "same"], [0, 128], ["stride", "pool"]):
        form = CONVNET | {"padding": padding, "fc": fc, "stem": stem, "conv3": 2.0}
        architecture = design(form | {"multiply_adds": BASE_MULTIPLY_ADDS / 5}, shape, 10)
        assert multiply_adds(architecture) < BASE_MULTIPLY_ADDS


@settings(max_examples=20)
@given(configurations, shapes)
def test_raw_bytes_and_floats_of_the_same_pixels_are_the_same_image(configuration, shape):
    model = build_model(design(configuration, shape, 10)).eval()
    images = images_of(shape)
    assert torch.equal(model(images), model(images.float()))


@settings(max_examples=10)
@given(configurations, shapes)
def test_a_network_comes_back_from_disk_as_it_was(tmp_path_factory, configuration, shape):
    directory = tmp_path_factory.mktemp("model")
    architecture = design(configuration, shape, 10)
    model = trained_a_little(architecture, shape).to(memory_format=torch.channels_last)
    save_model(model, architecture, directory / "new")
    again = load_model(directory / "new")
    images = images_of(shape)
    with torch.inference_mode():
        assert torch.equal(again(images), model(images))
    assert not again.training
    assert [p.shape for p in again.parameters()] == [p.shape for p in model.parameters()]
    assert sorted(p.name for p in (directory / "new").iterdir()) == [ARCHITECTURE, WEIGHTS]


def test_saving_again_replaces_the_weights(tmp_path):
    architecture = design(CONVNET, (1, 28, 28), 10)
    for _ in range(2):
        last = build_model(architecture)
        save_model(last, architecture, tmp_path)
    again = load_model(tmp_path)
    assert torch.equal(next(again.parameters()), next(last.parameters()))


@pytest.fixture
def saved(tmp_path):
    architecture = design(CONVNET, (1, 28, 28), 10)
    save_model(build_model(architecture), architecture, tmp_path)
    return tmp_path


def other_weights(directory):
    architecture = design(CONVNET | {"multiply_adds": 1e6}, (1, 28, 28), 10)
    save_model(build_model(architecture), architecture, directory / "other")
    (directory / "other" / WEIGHTS).replace(directory / WEIGHTS)


def architecture_is(text):
    return lambda directory: (directory / ARCHITECTURE).write_text(text)


def field_is(name, value):
    def change(directory):
        path = directory / ARCHITECTURE
        path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))

    return change


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda d: (d / WEIGHTS).unlink(), id="no weights"),
        pytest.param(lambda d: (d / ARCHITECTURE).unlink(), id="no architecture"),
        pytest.param(lambda d: (d / WEIGHTS).write_bytes(b""), id="empty weights"),
        pytest.param(lambda d: (d / WEIGHTS).write_bytes(b"x" * 1000), id="weights of noise"),
        pytest.param(
            lambda d: (d / WEIGHTS).write_bytes((d / WEIGHTS).read_bytes()[:-100]), id="cut weights"
        ),
        pytest.param(other_weights, id="weights of another architecture"),
        pytest.param(architecture_is(""), id="empty architecture"),
        pytest.param(architecture_is("{"), id="cut architecture"),
        pytest.param(architecture_is("[]"), id="a list"),
        pytest.param(architecture_is("{}"), id="no kind"),
        pytest.param(architecture_is('{"kind": "convnet"}'), id="nothing but a kind"),
        pytest.param(field_is("kind", "transformer"), id="unknown kind"),
        pytest.param(field_is("kind", ["convnet"]), id="a kind that is no name"),
        pytest.param(field_is("kind", "book"), id="the other kind"),
        pytest.param(field_is("shape", 28), id="a shape that is a number"),
        pytest.param(field_is("classes", "ten"), id="classes that are a word"),
        pytest.param(field_is("convolutions", [{}]), id="a convolution of nothing"),
    ],
)
def test_a_model_that_cannot_be_read_is_the_users_to_mend(saved, harm):
    harm(saved)
    with pytest.raises(ModelError) as caught:
        load_model(saved)
    assert "\n" not in str(caught.value)


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        load_model(tmp_path / "nowhere")


@settings(max_examples=20)
@given(convnets)
def test_pooling_before_the_activation_is_the_same_function(configuration):
    """The usual order is convolution, normalisation, activation, pooling."""
    model = trained_a_little(design(configuration, (1, 28, 28), 10), (1, 28, 28))
    early = list(model.features)
    late = []
    while early:
        layer = early.pop(0)
        if isinstance(layer, nn.MaxPool2d):
            late += [early.pop(0), early.pop(0), layer]
        else:
            late.append(layer)
    assert [type(m) for m in late] != [type(m) for m in model.features]
    pixels = model.normalise(images_of((1, 28, 28)))
    with torch.inference_mode():
        torch.testing.assert_close(nn.Sequential(*late)(pixels), model.features(pixels))


@settings(max_examples=3)
@given(shapes)
def test_normalised_pixels_have_mean_zero_and_deviation_one(shape):
    images = images_of(shape, 40)
    normalise = convnet.Normalise(shape[0])
    normalise.set_from(images)
    pixels = normalise(images)
    zeros, ones = torch.zeros(shape[0]), torch.ones(shape[0])
    torch.testing.assert_close(pixels.mean((0, 2, 3)), zeros, atol=1e-4, rtol=0)
    torch.testing.assert_close(pixels.std((0, 2, 3)), ones, atol=1e-3, rtol=0)


def test_images_of_one_colour_do_not_divide_by_zero():
    normalise = convnet.Normalise(1)
    normalise.set_from(torch.full((4, 1, 5, 5), 7, dtype=torch.uint8))
    assert math.isfinite(float(normalise(torch.zeros(1, 1, 5, 5)).sum()))


def test_the_chapters_network_is_the_chapters():
    """SEED.md B: convolutions with ReLU, one late pooling, dropouts, log-probabilities."""
    configuration = {
        "num_conv_layers": 3, "conv_depth_0": 27, "conv_depth_1": 28, "conv_depth_2": 46,
        "conv_dropout": 0.2, "num_fc_layers": 2, "fc_output_feat_0": 57, "fc_dropout_0": 0.3,
        "fc_output_feat_1": 54, "fc_dropout_1": 0.4,
    }  # fmt: skip
    model = build_model(design(configuration, (1, 28, 28), 10))
    assert [str(layer) for layer in model.layers] == [
        "Conv2d(1, 27, kernel_size=(3, 3), stride=(1, 1))",
        "ReLU()",
        "Conv2d(27, 28, kernel_size=(3, 3), stride=(1, 1))",
        "ReLU()",
        "Conv2d(28, 46, kernel_size=(3, 3), stride=(1, 1))",
        "ReLU()",
        "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
        "Dropout(p=0.2, inplace=False)",
        "Flatten(start_dim=1, end_dim=-1)",
        "Linear(in_features=5566, out_features=57, bias=True)",
        "ReLU()",
        "Dropout(p=0.3, inplace=False)",
        "Linear(in_features=57, out_features=54, bias=True)",
        "ReLU()",
        "Dropout(p=0.4, inplace=False)",
        "Linear(in_features=54, out_features=10, bias=True)",
        "LogSoftmax(dim=1)",
    ]
    probabilities = model.eval()(images_of((1, 28, 28))).exp().sum(1)
    torch.testing.assert_close(probabilities, torch.ones(3))


def slants(images):
    """Pixels aside for each row down, of images (N, H, W)."""
    rows, columns = np.mgrid[: images.shape[1], : images.shape[2]]
    total = images.sum((1, 2))
    down = rows - ((images * rows).sum((1, 2)) / total)[:, None, None]
    right = columns - ((images * columns).sum((1, 2)) / total)[:, None, None]
    return (images * down * right).sum((1, 2)) / (images * down * down).sum((1, 2))


@pytest.mark.parametrize("size", [(28, 28), (40, 28), (28, 40)])
@given(st.floats(-0.8, 0.8), st.integers(-3, 3), st.integers(-3, 3))
@settings(max_examples=20)
def test_what_leans_is_set_upright_where_it_stands(size, slant, lower, aside):
    rows, columns = np.mgrid[: size[0], : size[1]]
    down, right = rows - size[0] // 2 - lower, columns - size[1] // 2 - aside
    bar = 255 * np.exp(-(((right - slant * down) / 2) ** 2) - (down / 5) ** 2)
    images = torch.from_numpy(bar).float().expand(2, 3, *size)
    upright = convnet.Upright()(images)
    assert upright.shape == images.shape
    before, after = images[0, :1].numpy(), upright[0, :1].numpy()
    assert slants(before)[0] == pytest.approx(slant, abs=0.02)
    assert slants(after)[0] == pytest.approx(0, abs=0.02)
    for pixels in (rows, columns):
        assert (after * pixels).sum() / after.sum() == pytest.approx(
            (before * pixels).sum() / before.sum(), abs=0.2
        )
    assert after.sum() == pytest.approx(before.sum(), rel=0.02)


def test_nothing_and_what_stands_upright_stay_as_they_are():
    ring = torch.zeros(28, 28, dtype=torch.uint8)
    ring[8:20, 10:18] = 200
    images = torch.stack([torch.zeros_like(ring), ring])[:, None]  # (2, 1, 28, 28)
    assert torch.allclose(convnet.Upright()(images), images.float(), atol=1e-2)


def test_half_precision_does_not_bend_what_is_set_upright():
    images = torch.rand(4, 1, 28, 28) * 255
    wanted = convnet.Upright()(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(convnet.Upright()(images), wanted)


def test_a_network_of_upright_images_answers_leaning_ones_as_upright_ones():
    torch.manual_seed(0)
    model = build_model(design(CONVNET | {"upright": True}, (1, 28, 28), 10)).eval()
    images = torch.rand(4, 1, 28, 28) * torch.hann_window(28)[:, None] * 255
    with torch.inference_mode():
        seen = convnet.Upright()(images)
        wanted = model.head(model.features(model.normalise(seen)))
        assert torch.equal(model(images), wanted)


class Drawing(nn.Linear):
    """A network that draws random numbers also where it does not train."""

    def forward(self, images):
        return super().forward(images.flatten(1).float() + torch.rand(1))


def test_counting_leaves_the_random_numbers_to_the_training():
    model = Drawing(9, 2)
    torch.manual_seed(1)
    assert size_of(model, Image(1, 3, 3)).multiply_adds == 18
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))
