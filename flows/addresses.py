"""What `automl up` prints for a second terminal, and asks of its own servers."""

from __future__ import annotations

import shlex
import shutil
import sys
import urllib.request
from pathlib import Path


def prefect_command(api_url: str) -> str:
    """`prefect`, as one types it in a second terminal, in any directory, to reach `api_url`."""
    program = Path(sys.executable).with_name("prefect")
    found = shutil.which("prefect") == str(program)
    return f"PREFECT_API_URL={api_url} {'prefect' if found else shlex.quote(str(program))}"


def is_healthy(url: str) -> bool:
    """Whether a server of ours answers there, asked without a proxy."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
