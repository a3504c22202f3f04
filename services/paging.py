"""Pages (AIP-158): a size that is coerced down, and a token that says where the next page begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from cordboard.errors import InputError, Where

T = TypeVar("T")
PAGE_DEFAULT = 100
PAGE_MAX = 1000


def bounds(page_size: int, page_token: str) -> tuple[int, int]:
    """(where the page begins, how many it has at most). InputError for a negative size and a token not of ours."""
    if page_size < 0:
        raise InputError(f"page_size is {page_size}", Where(key="page_size"), "Give 0 or more")
    size = min(page_size or PAGE_DEFAULT, PAGE_MAX)
    if not page_token:
        return 0, size
    if not (page_token.isascii() and page_token.isdigit() and len(page_token) < 10):
        raise InputError("not a page_token of this server", Where(key="page_token"), "Give the next_page_token")
    return int(page_token), size


def page(items: Sequence[T], page_size: int, page_token: str) -> tuple[Sequence[T], str]:
    """(the items of a page, the token of the next one or an empty text)."""
    start, size = bounds(page_size, page_token)
    return items[start : start + size], str(start + size) if start + size < len(items) else ""
