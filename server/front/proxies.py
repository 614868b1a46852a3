"""Configurations of nginx and HAProxy for one public port.

Both only look at the ClientHello and carry TCP: TLS stays end to end, and what the front promises (who calls is known
before a body is read, a node's replies bear its own name, bodies and their sum have limits, the calls of a stranger are
few) cannot be written in either's language. So HTTP goes to our front at a loopback port, gRPC to the service, and
nothing ends, reads or stores a body between (``grpc_pass`` would end a member's TLS: the service would see nginx's
certificate in place of the member's). ``http/1.1`` is looked for first: browsers offer ``h2`` too.

What is lost is the caller's address, and the PROXY protocol is not used to carry it: it would reach the gRPC service as
well, which cannot read it, and to the front any process of the machine could say it. The limits of each address are
therefore the proxy's, and stand in these files; a front at a loopback port counts all callers as one (``Listener``,
``proxied``).
"""

NGINX, HAPROXY = "nginx.conf", "haproxy.cfg"
OF_ONE = 64
"""Connections of one address."""
IN_ALL = 2048
A_MINUTE = 600
"""New connections of one address (HAProxy only: nginx counts requests, which it does not see here)."""

_NGINX = r"""# nginx for one public port, routed by what a caller offers in its TLS hello (ALPN); TLS itself stays end to end.
# Check: nginx -t -c FILE. Never use grpc_pass or `listen ... ssl` here: members' certificates must reach the service.
{modules}worker_processes auto;
worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
stream {{
  limit_conn_zone $binary_remote_addr zone=address:10m;
  limit_conn_zone $server_port zone=all:1m;
  map $ssl_preread_alpn_protocols $side {{
    "~(^|,)http/1\.1(,|$)" 127.0.0.1:{front};  # Flower's nodes, browsers, curl: looked for first
    "~(^|,)h2(,|$)" 127.0.0.1:{service};  # gRPC offers h2 alone
    default 127.0.0.1:{front};
  }}
  server {{
    listen {listen};
    ssl_preread on;
    preread_timeout {hello}s;
    proxy_pass $side;
    proxy_connect_timeout 3s;
    proxy_timeout 15m;
    limit_conn address {of_one};
    limit_conn all {in_all};
  }}
}}
"""

_HAPROXY = r"""# HAProxy for one public port, routed by what a caller offers in its TLS hello (ALPN); TLS itself stays end to end.
# Check: haproxy -c -f FILE. Never write `ssl` behind bind or server: members' certificates must reach the service.
global
  maxconn {files}
{user}
defaults
  mode tcp
  timeout connect 3s
  timeout client 15m
  timeout server 15m

frontend public
  bind {listen}
  maxconn {in_all}
  stick-table type ipv6 size 100k expire 2m store conn_cur,conn_rate(60s)
  tcp-request connection track-sc0 src,ipmask(32,64)
  tcp-request connection reject if {{ sc0_conn_cur gt {of_one} }}
  tcp-request connection reject if {{ sc0_conn_rate gt {a_minute} }}
  tcp-request inspect-delay {hello}s
  tcp-request content accept if {{ req.ssl_hello_type 1 }}
  tcp-request content reject
  use_backend http if {{ req.ssl_alpn -m reg (^|,)http/1\.1(,|$) }}
  use_backend grpc if {{ req.ssl_alpn -m reg (^|,)h2(,|$) }}
  default_backend http

backend http
  server front 127.0.0.1:{front}

backend grpc
  server service 127.0.0.1:{service}
"""


def texts(
    public_port: int,
    front_port: int,
    service_port: int,
    host: str = "",
    modules: str = "/etc/nginx/modules-enabled/*.conf",
    user: str = "haproxy",
) -> dict[str, str]:
    """The files by their names, ``nginx.conf`` and ``haproxy.cfg``.

    Args:
        public_port: where callers come in.
        front_port: of the front, on 127.0.0.1.
        service_port: of the gRPC service, on 127.0.0.1.
        host: address of this machine to listen at; all of IPv4 if empty.
        modules: where the system keeps nginx's modules; empty where ``stream`` is built in.
        user: whom HAProxy becomes after it has bound the port; empty where it is not started as root.
    """
    listen = f"{host}:{public_port}"
    fields = {
        "front": front_port,
        "service": service_port,
        "of_one": OF_ONE,
        "in_all": IN_ALL,
        "a_minute": A_MINUTE,
        "files": 4 * IN_ALL,
        "hello": 5,
    }
    return {
        NGINX: _NGINX.format(
            listen=listen if host else f"{public_port}",
            modules=f"include {modules};\n" if modules else "",
            **fields,
        ),
        HAPROXY: _HAPROXY.format(
            listen=listen, user=f"  user {user}\n  group {user}\n" if user else "", **fields
        ),
    }
