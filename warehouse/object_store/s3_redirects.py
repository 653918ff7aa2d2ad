"""Keeps obstore at the server that was named: it follows redirections, and has no setting to forbid it.

A server that redirects a request could have this machine ask another one, which only this machine reaches, and load
its answer. obstore can be given a proxy, though, and asks all others through it:

- of a server with http://, the server itself is the proxy. It gets all requests, also those for other addresses, with
  the whole address in the first line (RFC 9112, 3.2.2: a server must accept that). One that does not is read by boto3.
- of a server with https://, it is a port where nothing listens, except for the server's own name.

Amazon's own servers are trusted. boto3 follows no redirection.
"""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit, urlunsplit

#: Nothing listens here: a port that only the administrator of this machine could open.
_NOWHERE = "http://127.0.0.1:1"


def confine(url: str, signed: str, seconds: float) -> dict[str, str] | None:
    """Options with which obstore connects to this server alone; None if none of them would do, so that boto3 reads.

    `signed` is an address of the server that it answers with 200.
    """
    from botocore.utils import get_environ_proxies

    if not url:
        return {}
    if get_environ_proxies(url):  # the user's own proxy, which could not be asked any more
        return None
    parts = urlsplit(url)
    if parts.scheme == "https":
        return {"proxy_url": _NOWHERE, "proxy_excludes": parts.hostname or ""}
    proxy = {"proxy_url": f"http://{_drop_login(parts.netloc)}"}
    return proxy if _is_whole_address_understood(signed, seconds) else None


def _is_whole_address_understood(signed: str, seconds: float) -> bool:
    """Whether a server answers a request whose first line has the whole address; also if it does not answer at all."""
    parts = urlsplit(signed)
    server = _drop_login(parts.netloc)
    try:
        with closing(HTTPConnection(server, timeout=seconds)) as connection:
            connection.request("GET", urlunsplit(parts._replace(netloc=server)))
            return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return True


def _drop_login(server: str) -> str:
    """A server without the login that its address may have: S3 has none but keys."""
    return server.rpartition("@")[2]
