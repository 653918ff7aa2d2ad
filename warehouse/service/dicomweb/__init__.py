"""DICOMweb over a lake (PS3.18): viewers search it and show its images, as of any day, at any snapshot.

    /dicomweb/studies?ModalitiesInStudy=CT          searching: QIDO-RS (PS3.18 10.6)
    /asof/2020-06-01/dicomweb/studies/1.2/metadata  retrieving: WADO-RS (PS3.18 10.4)
    /cohort/covid_risk/dicomweb/studies             a cohort as a worklist

Searches read an index in memory (`index.py`); metadata are the headers of the lake; the answers that were given last
are remembered (`remembering.py`). Pixels come from the bucket, and only if the object there is the one that the lake
has listed. The patient is that of the key, never that of a header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from warehouse.service.core import Service


def list_routes(service: Service) -> list[BaseRoute]:
    """The routes of DICOMweb, for the server."""
    from warehouse.service.dicomweb import routes

    return routes.list_routes(service)
