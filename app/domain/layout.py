"""Which nodes the cluster is made of, as its operators agreed: the source of every node's corosync.conf and the like.

A layout is replaced as a whole, by the next version; nodes apply the newest they can read. Node ids are never used
twice, so that what was said about a node that is gone (a fence, a proof) can never be taken for one that came after.
"""

from dataclasses import dataclass, replace

from app.domain.errors import Conflict, InvalidInput
from app.domain.node import NodeRole

#: how many members the database has before more nodes only use it: an odd number, and three survive one failure
DATABASE_MEMBERS = 3
MEMBERS_MAX = 64
LINKS_MAX = 8
TOKEN_MILLISECONDS_MIN, TOKEN_MILLISECONDS_MAX = 500, 30_000


@dataclass(frozen=True, slots=True)
class Member:
    """One node. `addresses`: one for each knet link, the preferred link first; the first is the node's address.

    `database`: it has a member of the database.
    """

    id: int
    name: str
    addresses: tuple[str, ...]
    role: NodeRole = NodeRole.COMPUTE
    database: bool = True


@dataclass(frozen=True, slots=True)
class Layout:
    """The cluster. `version` is Corosync's config_version, too. `next_id` is the id of the next member."""

    id: int
    version: int
    name: str
    token_milliseconds: int
    members: tuple[Member, ...]
    next_id: int

    @property
    def database_members(self) -> tuple[Member, ...]:
        """The members that hold the state."""
        return tuple(m for m in self.members if m.database)

    def member(self, name: str) -> Member | None:
        """The member of that name."""
        return next((m for m in self.members if m.name == name), None)


def first_layout(
    name: str, node: str, addresses: tuple[str, ...], role: NodeRole = NodeRole.COMPUTE, token_milliseconds: int = 1000
) -> Layout:
    """A cluster of one node. InvalidInput for figures and names that cannot be."""
    _check_addresses(addresses, links=len(addresses))
    if not TOKEN_MILLISECONDS_MIN <= token_milliseconds <= TOKEN_MILLISECONDS_MAX:
        raise InvalidInput("token", f"{TOKEN_MILLISECONDS_MIN} to {TOKEN_MILLISECONDS_MAX} milliseconds")
    _check_name("cluster name", name)
    _check_name("node name", node)
    return Layout(1, 1, name, token_milliseconds, (Member(1, node, addresses, role),), 2)


def with_member(
    layout: Layout, name: str, addresses: tuple[str, ...], role: NodeRole, *, database: bool | None = None
) -> Layout:
    """The next version, with this node. The same node again is the layout as it is: a repeated join changes nothing.

    `database` None: it gets a member of the database while there are fewer than three. Conflict when the name or
    an address is taken by another node.
    """
    _check_name("node name", name)
    _check_addresses(addresses, links=len(layout.members[0].addresses))
    known = layout.member(name)
    if known is not None:
        if known.addresses != addresses or known.role != role:
            raise Conflict(
                f"{name} is a member already, with {', '.join(known.addresses)} as {known.role}: choose another name,"
                f" or take the old one out with `holdfast cluster forget {name}`"
            )
        return layout
    if taken := {a for m in layout.members for a in m.addresses} & set(addresses):
        raise Conflict(f"{', '.join(sorted(taken))} belongs to another member: give this node its own address")
    if len(layout.members) >= MEMBERS_MAX:
        raise Conflict(f"a cluster has {MEMBERS_MAX} nodes at most")
    if database is None:
        database = len(layout.database_members) < DATABASE_MEMBERS
    member = Member(layout.next_id, name, addresses, role, database)
    return replace(layout, version=layout.version + 1, members=(*layout.members, member), next_id=member.id + 1)


def without_member(layout: Layout, name: str) -> Layout:
    """The next version, without this node. Conflict for the last one, and for the last that holds the state."""
    gone = layout.member(name)
    if gone is None:
        return layout
    rest = tuple(m for m in layout.members if m.name != name)
    if not rest:
        raise Conflict(f"{name} is the last node: to end the cluster purge the package instead")
    if gone.database and not any(m.database for m in rest):
        raise Conflict(f"{name} is the only node that holds the database: let another one join first")
    return replace(layout, version=layout.version + 1, members=rest)


def _check_name(what: str, name: str) -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-")
    if not 1 <= len(name) <= 63 or set(name) - allowed or name.startswith("-") or name.endswith("-"):
        raise InvalidInput(what, f"{name!r}: 1 to 63 of a-z, 0-9 and -, no - at its ends")


def _check_addresses(addresses: tuple[str, ...], *, links: int) -> None:
    if not 1 <= len(addresses) <= LINKS_MAX or len(set(addresses)) != len(addresses):
        raise InvalidInput("addresses", f"1 to {LINKS_MAX} different ones, one for each link")
    if len(addresses) != links:
        raise InvalidInput("addresses", f"this cluster has {links} link(s): give one address for each")
