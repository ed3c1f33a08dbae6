"""Fetch a file from a web server: whole, of the expected length, or an error of one line."""

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

TIMEOUT = 30.0
"""Seconds without an answer or without a byte after which a server counts as hanging."""

PAUSES = (0.5, 2.0)
"""Seconds before each further attempt, after faults that may pass."""

_PIECE = 1 << 20


class TransferError(OSError):
    """A file of a published sweep did not arrive as it was published; one line."""


class _Passing(Exception):
    """A fault that another attempt may not meet."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but none from https to an address that anyone could read or change."""

    def redirect_request(self, request, file, code, message, headers, url):
        if request.full_url.startswith("https:") and not url.startswith("https:"):
            raise TransferError(f"{request.full_url} redirects to {url}, which is not https")
        return super().redirect_request(request, file, code, message, headers, url)


def fetched(url: str, size: int | None, most: int) -> bytes:
    """The content at an address.

    Args:
        size: its expected number of bytes, if known.
        most: the largest number of bytes to read.

    Raises:
        FileNotFoundError: the server has no such file.
        TransferError: the server cannot be reached, refuses, hangs, breaks off, or sends another
            number of bytes.
    """
    for pause in (*PAUSES, None):
        try:
            return _once(url, size, most)
        except _Passing as error:
            if pause is None:
                raise TransferError(f"{url} {error}") from error
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _once(url: str, size: int | None, most: int) -> bytes:
    quoted = urllib.parse.quote(url, safe=":/@%+,=~")
    request = urllib.request.Request(quoted, headers={"Accept-Encoding": "identity"})
    try:
        with urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT) as answer:
            return _content(answer, url, size, most)
    except TransferError:
        raise
    except urllib.error.HTTPError as error:
        raise _of_status(url, error) from error
    except TimeoutError as error:
        raise _Passing(f"did not send anything for {TIMEOUT:g} s") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _Passing(f"did not answer within {TIMEOUT:g} s") from error
        raise _Passing(f"cannot be reached ({_line(error.reason)})") from error
    except (http.client.HTTPException, OSError) as error:
        raise _Passing(f"broke off ({_line(error)})") from error


def _content(answer: Any, url: str, size: int | None, most: int) -> bytes:
    pieces, count = [], 0
    announced = answer.headers.get("Content-Length")
    while piece := answer.read(_PIECE):
        count += len(piece)
        if count > most:
            raise TransferError(f"{url} has more than the {most:,} bytes that were published")
        pieces.append(piece)
    if announced is not None and announced.isdigit() and count < int(announced):
        raise _Passing(f"broke off after {count:,} of {int(announced):,} bytes")
    if size is not None and count != size:
        raise TransferError(f"{url} has {count:,} bytes, but {size:,} were published")
    return b"".join(pieces)


def _of_status(url: str, error: urllib.error.HTTPError) -> Exception:
    error.close()
    if error.code in (404, 410):
        return FileNotFoundError(error.code, "not on the server", url)
    if error.code in (408, 429) or error.code >= 500:
        return _Passing(f"cannot be read now (the server answers {error.code})")
    return TransferError(
        f"{url} cannot be read: the server answers {error.code} {_line(error.msg)}"
    )


def _line(error: Any) -> str:
    return " ".join(str(error).split()) or type(error).__name__
