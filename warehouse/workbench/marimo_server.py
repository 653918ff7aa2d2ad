"""Starts marimo for `chest workbench`, so that values of the lake do nothing in its pages.

The terminal that marimo would open in the browser is not offered: notebooks do not need one. marimo has no setting for
it, but offers none where Python has no module `pty`. And pages load pictures and sounds from here alone: marimo's
tables show the picture of which a text is the address, and whoever wrote the text would learn who reads it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (b"content-security-policy", b"img-src 'self' data: blob:; media-src 'self' data: blob:")


class OwnPictures:
    """ASGI middleware that has browsers load pictures and sounds from this server alone."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand in front of an app."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), _POLICY]}
            await send(message)

        await self.app(scope, receive, send_with_policy if scope["type"] == "http" else send)


def main() -> None:
    """Start marimo with the words of the command line."""
    sys.modules["pty"] = None  # type: ignore[assignment]  # as Python says that a module cannot be imported
    from marimo._cli.cli import main as start
    from marimo._server.registry import MIDDLEWARE_REGISTRY
    from starlette.middleware import Middleware

    MIDDLEWARE_REGISTRY.register("own pictures", Middleware(OwnPictures))
    start(prog_name="marimo")


if __name__ == "__main__":
    main()
