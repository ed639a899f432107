"""`holdfast`: one program for operators, nodes, the lab and the simulator."""

import sys

import typer

from app.cli import (
    audit,
    cluster,
    cluster_backup,
    cluster_doctor,
    cluster_nodes,
    event,
    image,
    incident,
    lab,
    node,
    notify,
    placement,
    plan,
    rolling,
    token,
    vm,
)
from app.cli.capacity import capacity
from app.cli.daemons import agent, api, bootstrap, db_upgrade, shutdown_hook
from app.cli.simulate import simulate
from app.cli.vm_rules import explain, set_rules
from app.domain.errors import DomainError

main = typer.Typer(
    name="holdfast",
    help="A self-healing KVM cloud on a rack of Debian servers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
database = typer.Typer(help="The state database.", no_args_is_help=True)
database.command("upgrade")(db_upgrade)

for command in (
    cluster_nodes.init, cluster_nodes.invite, cluster_nodes.join, cluster_nodes.leave, cluster_nodes.forget,
    cluster_nodes.status, cluster_doctor.doctor, cluster_backup.backup, cluster_backup.restore,
    rolling.rolling_plan, rolling.rolling_reboot, rolling.rolling_status, rolling.rolling_stop,
):  # fmt: skip
    cluster.app.command()(command)
main.add_typer(cluster.app, name="cluster")
node.app.command("shutdown-hook")(shutdown_hook)

main.add_typer(vm.app, name="vm")
main.add_typer(placement.app, name="placement")
main.add_typer(node.app, name="node")
main.add_typer(incident.app, name="incident")
main.add_typer(event.app, name="event")
main.add_typer(audit.app, name="audit")
main.add_typer(notify.app, name="notify")
main.add_typer(image.app, name="image")
main.add_typer(plan.app, name="plan")
main.add_typer(token.app, name="token")
main.add_typer(lab.app, name="lab")
main.add_typer(database, name="db")
vm.app.command("set")(set_rules)
vm.app.command()(explain)
main.command()(agent)
main.command()(api)
main.command()(bootstrap)
main.command()(simulate)
main.command()(capacity)


def run() -> None:
    """The program's entry point: what went wrong on purpose is one line on stderr, never a traceback."""
    try:
        main()
    except DomainError as error:
        sys.stderr.write(f"holdfast: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    run()
