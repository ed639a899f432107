"""corosync.conf(5) of a layout: the same text on every node."""

from app.domain.layout import Layout

#: corosync.conf(5), totem: after so many rotations without a message the token goes round slowly; a message that is to
#: be sent ends that. The agents send a few each second, so with the default of 30 rotations it hardly ever rests:
#: an idle corosync takes 3.0 % of a core instead of 1.4 % (three nodes), for messages that come no sooner.
HOLD_SOON = "seqno_unchanged_const: 3"


def corosync_conf(layout: Layout) -> str:
    """knet, encrypted and authenticated with /etc/corosync/authkey. The first link is preferred while it is up.

    Corosync's parser wants every `{` at the end of its line.
    """
    lines = [
        "# Written by holdfast from the cluster's layout. Changes are lost: use `holdfast cluster`.",
        "totem {",
        "  version: 2",
        f"  cluster_name: {layout.name}",
        f"  config_version: {layout.version}",
        "  transport: knet",
        "  crypto_cipher: aes256",
        "  crypto_hash: sha256",
        f"  token: {layout.token_milliseconds}",
        f"  {HOLD_SOON}",
        "  link_mode: passive",
    ]
    links = len(layout.members[0].addresses)
    for link in range(links):
        lines += ["  interface {", f"    linknumber: {link}", f"    knet_link_priority: {links - link}", "  }"]
    lines += ["}", "quorum {", "  provider: corosync_votequorum", "}", "nodelist {"]
    for member in layout.members:
        lines.append("  node {")
        lines += [f"    ring{link}_addr: {address}" for link, address in enumerate(member.addresses)]
        lines += [f"    name: {member.name}", f"    nodeid: {member.id}", "  }"]
    lines += ["}", "logging {", "  to_syslog: yes", "  to_stderr: no", "  to_logfile: no", "  timestamp: off", "}"]
    return "\n".join(lines) + "\n"
