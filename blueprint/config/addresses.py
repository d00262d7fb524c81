"""A host that the server listens on, as it stands in the URLs of those who reach it."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Return whether only programs on this machine can reach the host."""
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def local(host: str) -> str:
    """Return the host for URLs of programs on this machine."""
    if _listens_everywhere(host):
        return "127.0.0.1" if "." in host else "[::1]"
    return f"[{ipaddress.ip_address(host)}]" if ":" in host else host


def public(host: str) -> str:
    """Return the host for browsers: this machine's host name if the server listens on every address."""
    return socket.gethostname() if _listens_everywhere(host) else local(host)


def origin(url: str) -> str:
    """Return the site of an http(s) address as browsers name it."""
    parts = urlsplit(url.lower())
    return f"{parts.scheme}://{parts.netloc.removesuffix(':80' if parts.scheme == 'http' else ':443')}"


def _listens_everywhere(host: str) -> bool:
    return host != "localhost" and ipaddress.ip_address(host).is_unspecified
