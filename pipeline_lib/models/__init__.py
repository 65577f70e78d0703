"""Networks: built from an architecture, kept as JSON and safetensors, never pickled."""

from pipeline_lib.models.saved import load_model

__all__ = ["load_model"]  # here because the scripts of registered models import it
