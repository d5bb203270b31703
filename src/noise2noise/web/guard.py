"""Who may ask, and what a page may load.

The server listens on the loopback address, which every program and every web site on this machine
can try to reach. So three things are looked at before anything is answered:

- *Host*: a site that makes its own name point to 127.0.0.1 (DNS rebinding) is told by that name.
- *Origin*, and where browsers send it *Sec-Fetch-Site*: another site's page is told by these.
- *the token*: it is in the address that is printed, behind a `#`, so that it never reaches a log or
  another site; the page sends it in a header of its own with everything that it asks for.

What the page may load is told to the browser (Content-Security-Policy): its own scripts and styles
and nothing else.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-noise2noise-token"
TOKEN_BYTES = 16

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_OWN_SITES = ("same-origin", "none")


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def hosts_for(listening: str) -> frozenset[str]:
    """The names by which a server that listens there may be called, besides numeric addresses."""
    names = {"localhost"}
    if not is_loopback(listening):
        names |= {socket.gethostname().lower(), listening.lower()}
    return frozenset(names)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    if host.lower() == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


class Guard:
    """Stands before the application, and answers in its place where nobody may ask.

    Arguments:
        app: what is guarded.
        listening: the host that the server listens on.
        token: that everything under `/api/` needs.
    """

    def __init__(self, app: ASGIApp, listening: str, token: str) -> None:
        self._app, self._token = app, token.encode()
        self._names, self._loopback = hosts_for(listening), is_loopback(listening)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope["path"], Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, with_headers)
            return
        status, sentence = refusal
        await JSONResponse({"error": sentence}, status)(scope, receive, with_headers)

    def _refusal(self, path: str, headers: Headers) -> tuple[int, str] | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return 421, "this server isn't called by that name; open the address that it printed"
        if not _same_origin(headers.getlist("origin"), hosts[0]):
            return 403, "another site may not ask this server for anything"
        site = headers.get("sec-fetch-site", "none")
        if path.startswith("/api/") and site not in _OWN_SITES:
            return 403, "another site may not ask this server for anything"
        given = headers.get(TOKEN_HEADER, "").encode()
        if path.startswith("/api/") and not secrets.compare_digest(given, self._token):
            return 401, "the server was started again; open the address that it printed"
        return None

    def _is_ours(self, host: str) -> bool:
        name = _hostname(host)
        if name is None:
            return False
        address = _address(name)
        if address is None:
            return name in self._names
        return (
            address.is_loopback or not self._loopback
        )  # a number can't be made to point elsewhere


def _same_origin(origins: Sequence[str], host: str) -> bool:
    return all(urlsplit(origin).netloc == host for origin in origins)


def _hostname(host: str) -> str | None:
    """The name in a Host header, without its port; None if it is none."""
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return name if name and parts.netloc == host and "@" not in host else None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
