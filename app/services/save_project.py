"""An operator adds a tenant or changes its limits."""

from app.domain.errors import NameTaken, NotFound
from app.domain.records import Project
from app.ports.store import Transaction


def add_project(tx: Transaction, project: Project) -> Project:
    """NameTaken."""
    _check_name_is_free(tx, project)
    return tx.projects.add(project)


def change_project(tx: Transaction, project: Project) -> Project:
    """NotFound, NameTaken. A limit below what the project has stops new VMs only."""
    if tx.projects.get(project.id) is None:
        raise NotFound(f"there is no project {project.id}")
    _check_name_is_free(tx, project)
    tx.projects.save(project)
    return project


def _check_name_is_free(tx: Transaction, project: Project) -> None:
    if any(other.id != project.id for other in tx.projects.where(name=project.name)):
        raise NameTaken(f"a project with the name {project.name!r} exists already")
