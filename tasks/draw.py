"""Stage: draw the winner's network with torchviz."""

from __future__ import annotations

import base64

from prefect.artifacts import create_image_artifact

from pipeline_lib import finish
from pipeline_lib.data.prepared import SearchData
from pipeline_lib.drawing import Drawing
from pipeline_lib.record import Record
from pipeline_lib.run import Run
from pipeline_lib.trial import Trial
from tasks.stage import stage


@stage("draw the winner", timeout_seconds=300)
def draw_winner(run: Run, winner: Trial, data: SearchData, record: Record) -> Drawing | None:
    """Export the network as PDF, SVG and PNG."""
    drawing = finish.draw_winner(run, winner, data, record)
    if drawing is None:
        return None
    encoded = base64.b64encode(drawing.png.read_bytes()).decode()  # Prefect shows no file:// images
    create_image_artifact(
        image_url=f"data:image/png;base64,{encoded}",
        key="architecture",
        description=f"Network of {winner.label}",
    )
    return drawing
