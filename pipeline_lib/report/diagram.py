"""The picture of a network: torchviz's graph, tidied, as PDF, SVG and PNG.

torchviz draws what autograd recorded. For people this becomes: the operations from top to
bottom, each with the shape it puts out, and beside each the parameters it uses.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_lib.files import write_whole
from pipeline_lib.report.dot import FONT, find_dot, pdf_from_svg, render, svg_of

if TYPE_CHECKING:
    import torch
    from graphviz import Digraph
    from torch.autograd.graph import Node

_BOOKKEEPING = ("AccumulateGrad", "Clone")  # a copy that only reorders memory is no layer
_KNOWN_AS = {  # autograd's name: the name that people know
    "Addmm": "Linear",
    "Logsumexp": "LogSumExp",
    "MaxPool2DWithIndices": "MaxPool2d",
    "NativeBatchNorm": "BatchNorm",
    "Relu": "ReLU",
    "UnsafeView": "Flatten",
    "View": "Flatten",
}
_TRANSPOSES = {"T", "Transpose", "Permute"}

_GRAPH = {"bgcolor": "white", "ranksep": "0.25", "nodesep": "0.3", "pad": "0.2"}
_NODE = {
    "shape": "box",
    "style": "filled",
    "fontname": FONT,
    "fontsize": "11",
    "margin": "0.15,0.06",
    "height": "0.3",
    "color": "#6b7280",
}
_EDGE = {"color": "#6b7280", "arrowsize": "0.6"}
_OPERATION, _PARAMETERS, _END = "#eef0f3", "#d6e6f7", "#d5f0d8"
_FRAME = {
    "style": "rounded",
    "labeljust": "l",
    "color": "#6b7280",
    "fontname": FONT,
    "fontsize": "12",
    "margin": "12",
}
_PNG_DOTS_PER_INCH = 120

_NODE_LINE = re.compile(r'\t(\d+) \[label=(?:"([^"]*)"|(\w+))(?: fillcolor=\w+)?\]\n')
_MEMBER = re.compile(r"members\.(\d+)\.")
_EDGE_LINE = re.compile(r"\t(\d+) -> (\d+)\n")


@dataclass(frozen=True)
class Drawing:
    """Where the three pictures are."""

    pdf: Path
    svg: Path
    png: Path


def draw(
    model: torch.nn.Module,
    image_shape: tuple[int, int, int],
    directory: Path,
    stem: str = "architecture",
    members: Sequence[str] = (),
) -> Drawing:
    """Draw what *model* does with one image of *image_shape* (C, H, W), in evaluation mode.

    The *members* of an ensemble are framed, each with its name.

    Writes `directory/stem.{pdf,svg,png}`, each whole or not at all; the same network gives the
    same bytes on the same machine. *model* stays as it is.

    Raises:
        UserError: There is no program to draw with, or it refused.
    """
    dot = find_dot()
    source = _dot_source(_trace(model, image_shape), stem, members)
    svg = svg_of(dot, source)
    png = render(dot, source, "-Tpng", f"-Gdpi={_PNG_DOTS_PER_INCH}")
    pdf = pdf_from_svg(svg)
    return Drawing(
        pdf=write_whole(directory / f"{stem}.pdf", pdf),
        svg=write_whole(directory / f"{stem}.svg", svg),
        png=write_whole(directory / f"{stem}.png", png),
    )


@dataclass(frozen=True)
class _Trace:
    """torchviz's graph, and what it does not show. Nodes go by torchviz's names for them."""

    image: str
    output: str
    labels: dict[str, str]  # autograd's name of an operation, or "name\n (shape)" of a tensor
    inputs: dict[str, list[str]]
    shapes: dict[str, tuple[int, ...]]  # what an operation puts out

    def is_parameter(self, node: str) -> bool:
        return node not in self.shapes and node not in (self.image, self.output)

    def source(self, node: str) -> str:
        """What feeds through *node*: autograd's bookkeeping is looked through."""
        if _operation(self.labels[node]) in _BOOKKEEPING:
            return self.source(self.inputs[node][0])
        if _operation(self.labels[node]) in _TRANSPOSES:
            source = self.source(self.inputs[node][0])
            return source if self.is_parameter(source) else node
        return node

    def sources(self, node: str) -> list[str]:
        """What *node* computes with, each once, in torchviz's order."""
        return list(dict.fromkeys(self.source(taken) for taken in self.inputs[node]))


def _trace(model: torch.nn.Module, image_shape: tuple[int, int, int]) -> _Trace:
    import torch

    # A copy in which every parameter leaves its trace, also where the model is frozen.
    model = copy.deepcopy(model).cpu().eval().requires_grad_()
    image = torch.zeros(1, *image_shape, requires_grad=True)  # (1, C, H, W)
    with torch.enable_grad():
        output = model(image)
    operations = _operations(output.grad_fn)  # held while torchviz names nodes by id()
    shapes = {str(id(node)): tuple(node._input_metadata[0].shape) for node in operations}
    with _allow_distutils():
        from torchviz import make_dot

        body = make_dot(output, {"image": image, **dict(model.named_parameters())}).body
    nodes = [match.groups() for line in body if (match := _NODE_LINE.fullmatch(line))]
    labels = {name: quoted or plain for name, quoted, plain in nodes}
    inputs: dict[str, list[str]] = {name: [] for name in labels}
    for line in body:
        if match := _EDGE_LINE.fullmatch(line):
            inputs[match[2]].append(match[1])
    return _Trace(str(id(image)), str(id(output)), labels, inputs, shapes)


def _operations(last: Node) -> list[Node]:
    """Every node of autograd's graph below *last*, itself included."""
    found = {last: None}
    ahead = [last]
    while ahead:
        for node, _ in ahead.pop().next_functions:
            if node is not None and node not in found:
                found[node] = None
                ahead.append(node)
    return list(found)


@contextmanager
def _allow_distutils() -> Iterator[None]:
    """torchviz 0.0.3 compares versions with distutils, which warns that it is deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(The )?distutils", category=DeprecationWarning)
        yield


def _dot_source(trace: _Trace, name: str, members: Sequence[str]) -> str:
    from graphviz import Digraph

    computed = _from_image_to_output(trace)
    numbers = {node: f"n{number}" for number, node in enumerate(computed)}
    graph = Digraph(name, graph_attr=_GRAPH, node_attr=_NODE, edge_attr=_EDGE)
    nobody: dict[str, int | None] = dict.fromkeys(computed)
    member_of = _members(trace, computed) if members else nobody
    boxes = _parameters_by_users(trace, computed)
    for place in (None, *range(len(members))):
        part = graph if place is None else _frame(place, members[place])
        for node in computed:
            if member_of[node] == place:
                colour = _END if node in (trace.image, trace.output) else _OPERATION
                part.node(numbers[node], _label(trace, node), fillcolor=colour)
        for users, parameters in boxes.items():
            if member_of[users[0]] == place:
                _add_parameters(part, [numbers[user] for user in users], trace, parameters)
        if part is not graph:
            graph.subgraph(part)
    for node, number in numbers.items():
        for source in trace.sources(node):
            if not trace.is_parameter(source):
                graph.edge(numbers[source], number, weight="8")
    return str(graph.source)


def _frame(place: int, title: str) -> Digraph:
    from graphviz import Digraph

    return Digraph(f"cluster_{place}", graph_attr={"label": title, **_FRAME})


def _add_parameters(part: Digraph, users: list[str], trace: _Trace, parameters: list[str]) -> None:
    """One box of parameters beside the first operation that uses them."""
    from graphviz import Digraph

    box = "p" + "_".join(users)
    beside = Digraph(graph_attr={"rank": "same"})
    beside.node(box, _parameter_lines(trace, parameters), fillcolor=_PARAMETERS)
    beside.edge(box, users[0])
    part.subgraph(beside)
    for user in users[1:]:
        part.edge(box, user)


def _members(trace: _Trace, computed: list[str]) -> dict[str, int | None]:
    """By node, which member of an ensemble it belongs to; None where it is of none or of several.

    Known of what uses a member's parameters; what computes with that, or only for it, follows.
    """
    places: dict[str, set[int]] = {}
    takers: dict[str, set[int]] = {}
    for node in computed:
        sources = trace.sources(node)
        own = [_MEMBER.match(trace.labels[each]) for each in sources if trace.is_parameter(each)]
        places[node] = {int(match[1]) for match in own if match}
        places[node].update(*(places.get(each, set()) for each in sources))
    for node in reversed(computed):
        if not places[node] and node != trace.image:
            places[node] = takers.get(node, set())
        for source in trace.sources(node):
            takers.setdefault(source, set()).update(places[node])
    return {node: min(found) if len(found) == 1 else None for node, found in places.items()}


def _from_image_to_output(trace: _Trace) -> list[str]:
    """The image, the operations and the output, each after all that it computes with."""
    sources: dict[str, list[str]] = {}
    ahead = [trace.output]
    while ahead:
        node = ahead.pop()
        if node not in sources:
            sources[node] = [each for each in trace.sources(node) if not trace.is_parameter(each)]
            ahead.extend(sources[node])
    return list(TopologicalSorter(sources).static_order())


def _parameters_by_users(trace: _Trace, computed: list[str]) -> dict[tuple[str, ...], list[str]]:
    """Parameters that the same operations use stand in one box."""
    users: dict[str, list[str]] = {}
    for node in computed:
        for source in trace.sources(node):
            if trace.is_parameter(source):
                users.setdefault(source, []).append(node)
    boxes: dict[tuple[str, ...], list[str]] = {}
    for parameter, using in users.items():
        boxes.setdefault(tuple(using), []).append(parameter)
    return boxes


def _label(trace: _Trace, node: str) -> str:
    if node in trace.shapes:
        name = _operation(trace.labels[node])
        return f"{_KNOWN_AS.get(name, name)}\n{_per_image(trace.shapes[node])}"
    _, shape = _tensor(trace.labels[node])
    return f"{'image' if node == trace.image else 'output'}\n{_per_image(shape)}"


def _parameter_lines(trace: _Trace, parameters: list[str]) -> str:
    named = sorted((_tensor(trace.labels[each]) for each in parameters), key=lambda it: -len(it[1]))
    return "".join(f"{_MEMBER.sub('', name)}   {_times(shape)}\\l" for name, shape in named)


def _operation(label: str) -> str:
    """`ReluBackward0` is the trace of Relu."""
    return re.sub(r"Backward\d*$", "", label)


def _tensor(label: str) -> tuple[str, tuple[int, ...]]:
    name, _, shape = label.partition("\n")
    return name, tuple(int(size) for size in re.findall(r"\d+", shape))


def _per_image(shape: tuple[int, ...]) -> str:
    return _times(shape[1:] if shape[:1] == (1,) else shape)


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "scalar"
