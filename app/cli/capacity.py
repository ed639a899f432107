"""`holdfast capacity`: which failures are survived, what if, and how many more VMs fit. For operators."""

from typing import Annotated

import typer

from app.cli.http import DEFAULT_API, USAGE, ApiOption, Json, TokenOption, connect, fail
from app.cli.output import JsonOption, say_facts, say_json, say_table

#: a proof for a large and tight cluster takes seconds
_STRANDED_SHOWN_MAX = 20


def capacity(
    lose: Annotated[list[str] | None, typer.Option(help="What if this node fails; may be repeated.")] = None,
    add: Annotated[int, typer.Option(min=0, help="What if so many VMs of --plan are created.")] = 0,
    plan: Annotated[str, typer.Option(help="The plan of --add.")] = "",
    fits: Annotated[str, typer.Option(help="How many more VMs of this plan fit.")] = "",
    add_node: Annotated[
        list[str] | None, typer.Option(help="What if there is one more node: MEMORY_MIB:CORES[:RACK].")
    ] = None,
    racks: Annotated[bool, typer.Option("--racks", help="Racks fail, not single nodes.")] = False,
    failures: Annotated[int | None, typer.Option(min=1, help="Look at no more failures than this.")] = None,
    stock: Annotated[bool, typer.Option("--stock", help="How many more VMs of each plan fit.")] = False,
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say how many node failures the cluster survives, the worst case, and what would be left without a node.

    The promise is about VMs of the class `guaranteed`. It holds for failures at once and one after the other, and it is
    never more than the recovery itself can keep: where that cannot be proven the answer says `bound`.
    """
    if add and not plan:
        fail("--add needs --plan", USAGE)
    asked: Json = {"racks": racks, "lose": lose or [], "add": add, "plan": plan, "fits": fits, "node": add_node or []}
    if failures is not None:
        asked["failures"] = failures
    with connect(api, token) as cloud:
        if stock:
            rows = cloud.pages("/admin/v1/capacity/stock", "stock")
        else:
            row = cloud.get("/admin/v1/capacity", **asked)["capacity"]
    if as_json:
        say_json(rows if stock else row)
    elif stock:
        say_table(_STOCK, ([r[c] for c in _STOCK] for r in rows))
    else:
        _say(row)


_STOCK = ("plan", "fits", "fits_with_guarantee", "why_not_more")


def _say(row: Json) -> None:
    what = row["domain"]
    say_facts(
        {
            f"{what} failures survived": row["survivable"],
            "proof": row["proof"],
            "by room": row["by_room"],
            "by votes": row["by_votes"],
            "by the storm guard": row["by_storm_guard"],
            "guarantee": row["guarantee"],
            "guarantee is kept": row["guarantee_kept"],
            **({"because": row["broken"]} if row["broken"] else {}),
        },
        "capacity",
    )
    if row["by_votes"] < row["by_room"]:
        typer.echo(f"Votes allow fewer failures than room does: {row['by_votes']} against {row['by_room']}.")
    columns = ("failures", "survived", "proof", "worst case", "left free", "why not")
    say_table(columns, map(_level, row["levels"]))
    stranded = [s for level in row["levels"] for s in level["stranded"]]
    _say_stranded("would have no node", stranded)
    _say_stranded("has no node even now", row["waiting"])
    _say_what_if(row)


def _level(level: Json) -> tuple[object, ...]:
    free = f"{level['headroom_mib']} MiB" if level["survivable"] else ""
    return level["failures"], level["survivable"], level["proof"], level["worst"], free, level["why"]


def _say_what_if(row: Json) -> None:
    if "added" in row:
        typer.echo(f"Of {row['added']['wanted']} VMs to add {row['added']['placed']} have room.")
    if "loss" in row:
        loss = row["loss"]
        survived = "is survived" if loss["survived"] else "is NOT survived"
        sure = "" if loss["exact"] else " (all at once; not all orders were looked at)"
        then = f"after it {loss['then_survivable']} more could be, by room"
        typer.echo(f"The loss of {', '.join(loss['nodes'])} {survived}{sure}; {then}.")
        _say_stranded("would have no node", loss["stranded"])
    if "fits" in row:
        fits = row["fits"]
        typer.echo(
            f"{fits['fits']} more of {fits['plan']} fit, {fits['fits_with_guarantee']} of them with the guarantee of "
            f"{fits['guarantee']} ({fits['why_not_more']})."
        )


def _say_stranded(title: str, rows: list[Json]) -> None:
    if not rows:
        return
    shown = (
        (r["vm_id"], r["name"], f"{r['memory_mib']} MiB", r["guaranteed"], r["reason"])
        for r in rows[:_STRANDED_SHOWN_MAX]
    )
    say_table(("VM", title, "memory", "guaranteed", "reason"), shown)
    if len(rows) > _STRANDED_SHOWN_MAX:
        typer.echo(f"... and {len(rows) - _STRANDED_SHOWN_MAX} more; --json has them all")
