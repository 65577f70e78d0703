"""The report of a run: one HTML file that needs nothing else, and a model card beside it."""

from pipeline_lib.report.build import build_report
from pipeline_lib.report.card import build_card
from pipeline_lib.report.data import ReportData, Section, Table

__all__ = [
    "ReportData",
    "Section",
    "Table",
    "build_card",
    "build_report",
]
