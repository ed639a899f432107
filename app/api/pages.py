"""Lists in pages: `page` from 1, `per_page` 25 by default and 50 at most, `meta.pagination` and a Link header."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import URL

from app.domain.errors import InvalidInput

PER_PAGE_MAX = 50
#: larger than any list, and small enough for every database
_PAGE_MAX = 10_000_000


@dataclass(frozen=True, slots=True)
class Paging:
    """The page that was asked for."""

    page: int
    per_page: int
    url: URL

    def cut(self, rows: Sequence[Any]) -> Sequence[Any]:
        """The page of a list that is in memory."""
        return rows[(self.page - 1) * self.per_page : self.page * self.per_page]

    def answer(self, name: str, rows: Sequence[dict[str, Any]], total: int) -> JSONResponse:
        """The list under its resource's name."""
        last = max(1, -(-total // self.per_page))
        numbers = {
            "prev": self.page - 1 if 1 < self.page <= last + 1 else None,
            "next": self.page + 1 if self.page < last else None,
        }
        pagination = {
            "page": self.page,
            "per_page": self.per_page,
            "previous_page": numbers["prev"],
            "next_page": numbers["next"],
            "last_page": last,
            "total_entries": total,
        }
        links = [f'<{self._at(n)}>; rel="{rel}"' for rel, n in {**numbers, "last": last}.items() if n is not None]
        return JSONResponse({name: list(rows), "meta": {"pagination": pagination}}, headers={"Link": ", ".join(links)})

    def _at(self, page: int) -> str:
        return str(self.url.include_query_params(page=page, per_page=self.per_page))


def _paging(
    request: Request,
    page: Annotated[int, Query(ge=1, le=_PAGE_MAX)] = 1,
    per_page: Annotated[int, Query(ge=1, le=_PAGE_MAX)] = 25,
) -> Paging:
    return Paging(page, min(per_page, PER_PAGE_MAX), request.url)


PageWanted = Annotated[Paging, Depends(_paging)]
Sort = Annotated[list[str] | None, Query()]


def parse_sort(wanted: Sequence[str] | None, allowed: Sequence[str], default: str = "id:asc") -> list[tuple[str, bool]]:
    """(field, descending) for each `field`, `field:asc` or `field:desc`. InvalidInput for others."""
    parsed = []
    for one in wanted or (default,):
        name, _, direction = one.partition(":")
        if name not in allowed or direction not in ("", "asc", "desc"):
            raise InvalidInput("sort", f"{one[:50]!r} is not one of {', '.join(allowed)}, each with :asc or :desc")
        parsed.append((name, direction == "desc"))
    return parsed
