"""What stands in the files for nginx and HAProxy; that they do it is ``tests/security/test_fronts.py``."""

import subprocess
from pathlib import Path

import pytest

from fedrepay.server.front import proxies
from support import fronts


def test_nothing_ends_a_member_s_tls_or_reads_a_body() -> None:
    for text in proxies.texts(443, 8443, 50051).values():
        settings = "\n".join(line.partition("#")[0] for line in text.splitlines())
        for forbidden in (
            "grpc_pass",
            "ssl_certificate",
            "http {",
            "mode http",
            " crt ",
            " ssl;",
            "send-proxy",
        ):
            assert forbidden not in settings
        assert "127.0.0.1:8443" in settings
        assert "127.0.0.1:50051" in settings
        assert settings.index("http/1\\.1") < settings.index("h2")
        assert f" {proxies.OF_ONE}" in settings
        assert f" {proxies.IN_ALL}" in settings


def test_the_public_port_is_at_the_named_address() -> None:
    everywhere, one = proxies.texts(443, 1, 2), proxies.texts(443, 1, 2, "192.0.2.1")
    assert "listen 443;" in everywhere[proxies.NGINX]
    assert "listen 192.0.2.1:443;" in one[proxies.NGINX]
    assert "bind :443\n" in everywhere[proxies.HAPROXY]
    assert "bind 192.0.2.1:443\n" in one[proxies.HAPROXY]


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_the_programs_take_them(tmp_path: Path, kind: str) -> None:
    command, modules = fronts.nginx() if kind == "nginx" else (fronts.haproxy(), "")
    for name, text in proxies.texts(18443, 8443, 50051, modules=modules, user="").items():
        (tmp_path / name).write_text(text)
    path = tmp_path / (proxies.NGINX if kind == "nginx" else proxies.HAPROXY)

    def checked() -> bool:
        pid = f"pid {tmp_path}/nginx.pid;"
        arguments = (
            ["-t", "-e", "stderr", "-g", pid, "-c", str(path)] if kind == "nginx" else ["-c", "-f", str(path)]
        )
        said = subprocess.run([command, *arguments], capture_output=True, check=False, cwd=tmp_path)
        return said.returncode == 0

    assert checked()
    path.write_text(path.read_text().replace("15m", "15x"))
    assert not checked(), "the control"
