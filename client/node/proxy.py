"""Which HTTP proxy this process and its children go through: the one that is set, or none; never the environment's."""

import os


def only(proxy: str | None) -> None:
    """Set the one variable that Flower's client reads for TLS, or none; its own calls on loopback go through no proxy.

    Args:
        proxy: http://[user:password@]host:port.
    """
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    if proxy is not None:
        os.environ.update({"https_proxy": proxy, "no_proxy": "127.0.0.1,localhost"})
