"""Headers that are made to take long to parse take no longer than others of their length, with a token or without."""

from types import SimpleNamespace
from typing import Any

import pytest
from served import Served
from starlette.datastructures import Headers, QueryParams

from warehouse.service.dicomweb import negotiation

LONG = 60_000


def parse(header: str) -> list[negotiation.Accepted]:
    request: Any = SimpleNamespace(query_params=QueryParams(), headers=Headers({"accept": header}))
    return negotiation.parse_accept(request)


@pytest.mark.parametrize(
    "accept", ['"' + '\\"' * (LONG // 2), '"' * LONG, '"\\' * (LONG // 2), ";" * LONG, "a;" + '"\\\\' * (LONG // 3)]
)
def test_accept_takes_no_longer_than_its_length(served: Served, tokens: dict[str, str], accept: str) -> None:
    # By attempts at each of its characters these take minutes, in which nobody else is answered.
    assert len(parse(accept)) <= 1
    assert served.get("/dicomweb/studies", tokens["counts"], headers={"Accept": accept}).status_code in (403, 406)


def test_quotes_hold_separators_and_one_that_is_open_runs_to_the_end() -> None:
    first, second = parse('multipart/related; type="application/dicom"; x="a,;\\"b", image/png;q=0.5')
    assert (first.media, first.is_multipart, first.parameters["x"]) == ("application/dicom", True, 'a,;\\"b')
    assert (second.media, second.quality) == ("image/png", 0.5)
    (only,) = parse('image/png; x="a, image/jpeg')
    assert (only.media, only.parameters["x"]) == ("image/png", "a, image/jpeg")
    assert [each.media for each in parse('image/png, "\\')] == ["image/png", '"\\']


def test_cookies_take_no_longer_than_their_length(served: Served, tokens: dict[str, str]) -> None:
    served.client.cookies.clear()
    port = served.address.rpartition(":")[2]
    mine = f"chest_token_{port}={tokens['rows']}"
    for made in ('a="' + "\\" * LONG + '"', 'a="' + "\\042" * (LONG // 4) + '"', 'a="' + '\\"' * (LONG // 2)):
        for cookie, status in ((made, 401), (f"{made}; {mine}", 200), (f"{mine}; {made}", 200)):
            answer = served.client.get("/docs", headers={"Authorization": "", "Cookie": cookie})
            assert answer.status_code == status
