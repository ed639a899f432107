"""MariaDB's settings on a node that holds the state, and the addresses by which all nodes reach it."""

from urllib.parse import quote

from app.adapters.cluster_files.places import CA_CERTIFICATE, DATABASE_PKI
from app.domain.layout import Layout, Member

SOCKET = "/run/mysqld/mysqld.sock"
DATABASE = USER = "holdfast"


def _provider(token_milliseconds: int) -> tuple[str, ...]:
    """Galera is as patient with a silent member as Corosync is: one setting says how slow this cluster's servers are.

    With the default token of 1 s: when one of three is cut off, the longest commit stalls 0.44 s (about 5 s with
    Galera's own defaults).
    """
    token = token_milliseconds / 1000
    return (
        f"evs.suspect_timeout=PT{2 * token:g}S",
        f"evs.inactive_timeout=PT{4 * token:g}S",
        f"evs.keepalive_period=PT{token / 2:g}S",
        f"evs.inactive_check_period=PT{token / 2:g}S",
        "pc.recovery=TRUE",
        "gcache.size=256M",
    )


def galera_conf(layout: Layout, node: Member) -> str:
    """A file for /etc/mysql/mariadb.conf.d. Group communication and transfers are encrypted by the node's certificate.

    While the database has one member it may start alone; with more, a node that starts must find another one, so
    that two halves can never go separate ways.
    """
    others = [_bracketed(m.addresses[0]) for m in layout.database_members]
    members = ",".join(others) if len(others) > 1 else ""
    address, pki = node.addresses[0], DATABASE_PKI
    provider = (
        f"gmcast.listen_addr=ssl://{_bracketed(address)}:4567", *_provider(layout.token_milliseconds), "socket.ssl=yes",
        f"socket.ssl_ca={pki}/ca.pem", f"socket.ssl_cert={pki}/node.pem", f"socket.ssl_key={pki}/node.key",
    )  # fmt: skip
    lines = [
        "# Written by holdfast from the cluster's layout. Changes are lost: use a later file in this directory.",
        "[mariadbd]",
        f"bind-address = {address}",
        "skip-name-resolve = ON",
        "binlog_format = ROW",
        "default_storage_engine = InnoDB",
        "innodb_autoinc_lock_mode = 2",
        "innodb_flush_log_at_trx_commit = 1",
        f"ssl_ca = {pki}/ca.pem",
        f"ssl_cert = {pki}/node.pem",
        f"ssl_key = {pki}/node.key",
        "wsrep_on = ON",
        "wsrep_provider = /usr/lib/galera/libgalera_smm.so",
        f"wsrep_cluster_name = {layout.name}",
        f"wsrep_cluster_address = gcomm://{members}",
        f"wsrep_node_name = {node.name}",
        f"wsrep_node_address = {_bracketed(address)}",
        "wsrep_sst_method = rsync",
        f'wsrep_provider_options = "{";".join(provider)}"',
        "",
        "[sst]",
        "ssl-mode = VERIFY_CA",
        f"tca = {pki}/ca.pem",
        f"tcert = {pki}/node.pem",
        f"tkey = {pki}/node.key",
    ]
    return "\n".join(lines) + "\n"


def database_urls(layout: Layout, node: Member, password: str) -> list[str]:
    """The node's own member by its socket first, if it has one, then the others by TLS."""
    login = f"mysql+pymysql://{USER}:{quote(password, safe='')}@"
    own = [f"{login}/{DATABASE}?unix_socket={SOCKET}"] if node.database else []
    tls = f"?ssl_ca={CA_CERTIFICATE}"
    others = [m.addresses[0] for m in layout.database_members if m.name != node.name]
    return [*own, *(f"{login}{_bracketed(address)}:3306/{DATABASE}{tls}" for address in others)]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
