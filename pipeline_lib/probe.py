"""Asking a server that the user named whether it is there, before anything depends on it."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping

_DOUBTED = 0


def status(url: str, headers: Mapping[str, str], seconds: float) -> int:
    """The status code of the reply, `_DOUBTED` where a certificate is for its client to judge.

    Through the proxy that the environment names for the address, if it names one.

    Raises:
        OSError: There is no reply; says why.
    """
    try:
        request = urllib.request.Request(url, headers=dict(headers))
        with urllib.request.build_opener().open(request, timeout=seconds) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLError):
            return _DOUBTED
        raise OSError(_reason(error.reason)) from error
    except OSError as error:
        raise OSError(_reason(error)) from error
    except (http.client.HTTPException, ValueError) as error:
        raise OSError("what it answers is no HTTP") from error


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "nothing within seconds"
    return str(getattr(error, "strerror", None) or error)
