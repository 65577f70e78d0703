"""The pictures of networks: whole, deterministic, and readable."""

import base64
import re
import shutil
import sys
import xml.etree.ElementTree as ET
import zlib
from itertools import combinations, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from browser import browser
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from reportlab.pdfbase.pdfmetrics import stringWidth
from torch import nn

from pipeline_lib.config import RunConfig
from pipeline_lib.errors import UserError
from pipeline_lib.home import Home
from pipeline_lib.isolation import captured
from pipeline_lib.models.ensemble import Ensemble
from pipeline_lib.report.diagram import draw
from pipeline_lib.report.dot import find_dot, render
from pipeline_lib.run.run import Run

SVG = "{http://www.w3.org/2000/svg}"
IMAGE_SHAPE = (1, 28, 28)


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(0.13))
        self.register_buffer("std", torch.tensor(0.31))
        widths = [1, 16, 32, 64]
        self.features = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(i, o, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(o), nn.ReLU()
                )
                for i, o in pairwise(widths)
            )
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * 3 * 3, 10))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.features((image - self.mean) / self.std))


class Block(nn.Module):
    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(width_in), nn.ReLU(), nn.Linear(width_in, width),
            nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width),
        )  # fmt: skip
        self.shortcut = nn.Identity() if width_in == width else nn.Linear(width_in, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x) + self.shortcut(x)


def residual_mlp(widths: list[int]) -> nn.Module:
    blocks = [Block(i, o) for i, o in pairwise([784, *widths])]
    return nn.Sequential(nn.Flatten(), *blocks, nn.Linear(widths[-1], 10))


def boxes(svg: Path) -> list[tuple[list[str], tuple[float, float, float, float]]]:
    """Each node's lines and its left, top, right, bottom, after checking that the lines fit."""
    found = []
    for group in ET.parse(svg).iter(f"{SVG}g"):
        if group.get("class") != "node":
            continue
        corners = group.find(f"{SVG}polygon").get("points").split()
        xs, ys = zip(*(map(float, corner.split(",")) for corner in corners), strict=True)
        lines = group.findall(f"{SVG}text")
        for line in lines:
            assert line.get("font-family").startswith("Helvetica")
            size, x = float(line.get("font-size")), float(line.get("x"))
            width = stringWidth(line.text, "Helvetica", size)
            assert float(line.get("textLength")) == pytest.approx(width, abs=0.01)
            left = x - width / 2 if line.get("text-anchor") == "middle" else x
            assert min(xs) < left and left + width < max(xs), line.text
            baseline = float(line.get("y"))
            assert min(ys) < baseline - 0.75 * size and baseline + 0.2 * size < max(ys), line.text
        baselines = [float(line.get("y")) for line in lines]
        assert all(below - above >= 11 for above, below in pairwise(baselines))
        found.append(([line.text for line in lines], (min(xs), min(ys), max(xs), max(ys))))
    for (one, (l1, t1, r1, b1)), (other, (l2, t2, r2, b2)) in combinations(found, 2):
        assert r1 < l2 or r2 < l1 or b1 < t2 or b2 < t1, f"{one} covers {other}"
    return found


def parameter_lines(model: nn.Module) -> set[tuple[str, str]]:
    return {
        (name, " × ".join(map(str, parameter.shape)))
        for name, parameter in model.named_parameters()
    }


def test_the_members_of_an_ensemble_are_framed_by_name(tmp_path):
    network = Ensemble([ConvNet(), ConvNet()], [0.75, 0.25], [1.0, 1.3])
    names = ["optuna-0041, weight 0.75", "autopytorch-0007, weight 0.25"]
    svg = draw(network, IMAGE_SHAPE, tmp_path, members=names).svg
    root = ET.fromstring(svg.read_text())
    frames = [g for g in root.iter(f"{SVG}g") if g.get("class") == "cluster"]
    titles = ["".join(text.itertext()) for g in frames for text in g.iter(f"{SVG}text")]
    assert titles == names
    boxes = [box(frame) for frame in frames]
    inside = [sum(within(box(node), frame) for node in nodes(root)) for frame in boxes]
    assert inside[0] == inside[1] > 10
    alone = draw(network, IMAGE_SHAPE, tmp_path / "alone").svg.read_text()
    assert "cluster" not in alone


def box(group):
    """Left, top, right and bottom of what a group draws first."""
    shape = next(each for each in group if each.get("points") or each.get("d"))
    numbers = [float(n) for n in re.findall(r"-?[\d.]+", shape.get("points") or shape.get("d"))]
    xs, ys = numbers[::2], numbers[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def within(one, other):
    left, top, right, bottom = other
    return left <= one[0] and top <= one[1] and one[2] <= right and one[3] <= bottom


def nodes(root):
    return [g for g in root.iter(f"{SVG}g") if g.get("class") == "node"]


def drawn_parameters(svg: Path) -> set[tuple[str, str]]:
    lines = [line.split() for texts, _ in boxes(svg) for line in texts]
    return {(name, " ".join(rest)) for name, *rest in lines if name.endswith(("weight", "bias"))}


def test_three_files_of_their_kinds_and_nothing_else(tmp_path):
    drawing = draw(ConvNet(), IMAGE_SHAPE, tmp_path / "new", "winner")
    assert drawing.pdf.read_bytes().startswith(b"%PDF")
    assert drawing.png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert ET.parse(drawing.svg).getroot().tag == f"{SVG}svg"
    written = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert written == ["winner.pdf", "winner.png", "winner.svg"]


def test_a_convnet_reads_from_image_to_output(tmp_path):
    model = ConvNet()
    svg = draw(model, IMAGE_SHAPE, tmp_path).svg
    assert drawn_parameters(svg) == parameter_lines(model)
    spine = [
        texts for texts, (_, top, _, _) in sorted(boxes(svg), key=lambda it: it[1][1])
        if not texts[0].startswith(("features", "head"))
    ]  # fmt: skip
    block = ["Convolution", "MaxPool2d", "BatchNorm", "ReLU"]
    assert [name for name, _ in spine] == [
        "image", "Sub", "Div", *block, *block, *block, "Flatten", "Linear", "output",
    ]  # fmt: skip
    assert spine[0][1] == "1 × 28 × 28"
    assert spine[4] == ["MaxPool2d", "16 × 14 × 14"]
    assert spine[-1][1] == "10"
    assert not re.search("Backward|AccumulateGrad", svg.read_text())


def test_a_skip_connection_reaches_the_sum(tmp_path):
    svg = draw(residual_mlp([64, 64]), IMAGE_SHAPE, tmp_path).svg
    groups = list(ET.parse(svg).iter(f"{SVG}g"))
    names = {
        group.find(f"{SVG}title").text: group.find(f"{SVG}text").text
        for group in groups
        if group.get("class") == "node"
    }
    edges = [
        [names[end] for end in group.find(f"{SVG}title").text.split("->")]
        for group in groups
        if group.get("class") == "edge"
    ]
    assert sorted(start for start, end in edges if end == "Add") == [
        "Add", "Linear", "Linear", "Linear",
    ]  # fmt: skip


@settings(max_examples=6, deadline=None)
@given(widths=st.lists(st.sampled_from([8, 64, 1000]), min_size=1, max_size=5))
def test_every_parameter_stands_in_a_box_that_fits_it(widths):
    model = residual_mlp(widths)
    with TemporaryDirectory() as directory:
        assert drawn_parameters(draw(model, IMAGE_SHAPE, Path(directory)).svg) == parameter_lines(
            model
        )


def test_the_pdf_is_one_page_as_large_as_the_svg_with_every_parameter(tmp_path):
    model = ConvNet()
    drawing = draw(model, IMAGE_SHAPE, tmp_path)
    pdf = drawing.pdf.read_bytes()
    pages = [
        [float(size) for size in box.split()] for box in re.findall(rb"MediaBox \[([^]]+)", pdf)
    ]
    svg = ET.parse(drawing.svg).getroot()
    size = [float(svg.get(side).removesuffix("pt")) for side in ("width", "height")]
    assert pages == [pytest.approx([0, 0, *size], abs=1)]
    (page,) = re.findall(rb"stream\n(Gb.*?)~>endstream", pdf, flags=re.DOTALL)
    text = zlib.decompress(base64.a85decode(page)).decode("latin-1")
    assert all(f"({name} " in text for name, _ in parameter_lines(model))


def test_the_png_is_opaque_on_white_and_of_a_sane_size(tmp_path):
    with Image.open(draw(residual_mlp([64] * 6), IMAGE_SHAPE, tmp_path).png) as image:
        assert 300 < image.width < 2000 and 1000 < image.height < 8000
        inside = image.convert("RGBA").crop((1, 1, image.width - 2, image.height - 2))
        assert inside.getpixel((0, 0)) == (255, 255, 255, 255)
        assert inside.getextrema()[3] == (255, 255)


def test_the_same_network_gives_the_same_bytes(tmp_path):
    first = draw(ConvNet(), IMAGE_SHAPE, tmp_path / "first")
    second = draw(ConvNet(), IMAGE_SHAPE, tmp_path / "second")
    for one, other in zip(vars(first).values(), vars(second).values(), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_model_stays_as_it_is_and_a_frozen_one_is_drawn_too(tmp_path):
    model = ConvNet().requires_grad_(False).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        svg = draw(model, IMAGE_SHAPE, tmp_path).svg
    assert drawn_parameters(svg) == parameter_lines(model)
    assert all(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_shared_parameters_views_and_parts_of_tensors(tmp_path):
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice = nn.Linear(28, 28)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            _, right = self.twice(self.twice(image).relu()).chunk(2, dim=-1)
            return right.flatten(1)

    svg = draw(Odd(), IMAGE_SHAPE, tmp_path).svg
    lines = [line for texts, _ in boxes(svg) for line in texts]
    assert sum(line.startswith("twice.weight") for line in lines) == 1
    assert [texts for texts, _ in boxes(svg) if texts[0] == "output"] == [["output", "392"]]


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_a_dot_on_the_path_is_used_and_leaves_no_name(tmp_path, monkeypatch):
    port = shutil.which("graphviz-pure", path=Path(sys.executable).parent)
    write_program(tmp_path / "dot", f'echo "$@" >> {tmp_path}/called; exec {port} "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    drawing = draw(ConvNet(), IMAGE_SHAPE, tmp_path / "out")
    assert "-Tsvg" in (tmp_path / "called").read_text()
    for path in (drawing.pdf, drawing.svg, drawing.png):
        assert b"graphviz" not in path.read_bytes().lower()


def test_a_browser_with_a_wider_font_keeps_text_in_its_box(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")  # the port's boxes fit Helvetica, whatever is installed
    svg = draw(ConvNet(), IMAGE_SHAPE, tmp_path).svg
    svg.write_text(svg.read_text().replace("Helvetica", "monospace"))
    monkeypatch.undo()
    outside = """[...document.querySelectorAll('g.node text')].filter(text => {
        const [box, line] = [text.parentNode.querySelector('polygon'), text].map(it => it.getBBox())
        return line.x < box.x || line.x + line.width > box.x + box.width
    }).map(text => text.textContent)"""
    with browser(tmp_path / "profile") as page:
        page.open(svg.as_uri())
        assert page.evaluate(outside) == []


def test_without_any_dot_one_line_says_what_to_install(tmp_path, monkeypatch):
    without_the_port(monkeypatch, tmp_path)
    with pytest.raises(UserError) as caught:
        draw(ConvNet(), IMAGE_SHAPE, tmp_path / "out")
    assert str(caught.value) == (
        "drawing: neither dot nor graphviz-pure was found; "
        "install Graphviz, or the Python package graphviz-pure"
    )
    assert not (tmp_path / "out").exists()


def without_the_port(monkeypatch, place):
    """Only programs that lie in `place` are found."""
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setattr(sys, "executable", str(place / "python"))


def test_a_run_without_a_dot_that_draws_begins_with_a_warning(tmp_path, monkeypatch, caplog):
    without_the_port(monkeypatch, tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Run.begin(RunConfig(), Home(tmp_path / "out"))
    assert "no diagram of the winner" in caplog.text


@pytest.mark.parametrize("does", ["exit 1", "echo 'no plugin' >&2; exit 1", "cat", "exit 0"])
def test_a_dot_that_does_not_draw_leaves_the_work_to_the_port(does, tmp_path, monkeypatch):
    write_program(tmp_path / "dot", does)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert find_dot().name == "graphviz-pure"
    assert draw(ConvNet(), IMAGE_SHAPE, tmp_path / "out").svg.exists()


def test_the_doctor_names_the_dot_that_draws(tmp_path, monkeypatch):
    write_program(tmp_path / "dot", "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    automl = Path(sys.executable).with_name("automl")
    said = captured([automl, "doctor", "--home", str(tmp_path / "home")]).stdout
    (line,) = [line for line in said.splitlines() if " dot " in line]
    assert line.startswith("ok")
    assert "graphviz-pure" in line


def test_a_dot_that_never_ends_is_ended(tmp_path):
    write_program(tmp_path / "dot", "exec sleep 600")
    with pytest.raises(UserError, match="was ended after"):
        render(tmp_path / "dot", "digraph {a}", "-Tsvg", seconds=0.2)


def test_a_dot_that_refuses_is_quoted(tmp_path, monkeypatch):
    write_program(tmp_path / "dot", "echo 'no plugin for svg' >&2; exit 1")
    without_the_port(monkeypatch, tmp_path)
    with pytest.raises(UserError, match=r"drawing: .*/dot -Tsvg failed: no plugin for svg"):
        draw(ConvNet(), IMAGE_SHAPE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dot_that_cannot_be_started_is_named(tmp_path, monkeypatch):
    (tmp_path / "dot").write_bytes(b"\x7fELF no program")
    (tmp_path / "dot").chmod(0o755)
    without_the_port(monkeypatch, tmp_path)
    with pytest.raises(UserError, match=r"drawing: .*/dot cannot be started"):
        draw(ConvNet(), IMAGE_SHAPE, tmp_path / "out")
