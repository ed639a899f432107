"""Migrations keep the promise of a rolling upgrade: what is done while versions are mixed takes nothing away."""

import ast

from alembic.config import Config
from alembic.script import ScriptDirectory

from app.adapters.db import schema
from app.adapters.db.schema_floor import revisions

FILES = sorted((schema.SCRIPTS / "versions").glob("[0-9]*.py"))
#: what Alembic's operations take away, or demand of rows that the version before writes
TAKES_AWAY = {
    "drop_column", "drop_table", "drop_constraint", "rename_table", "alter_column", "execute",
    "create_check_constraint",
}  # fmt: skip


def _constant(tree: ast.Module, name: str) -> object:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return ast.literal_eval(node.value)
    return None


def _calls(tree: ast.Module, function: str) -> list[ast.Call]:
    (body,) = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function]
    return [n for n in ast.walk(body) if isinstance(n, ast.Call)]


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def test_every_migration_declares_its_phase_and_is_named_by_its_revision() -> None:
    assert len(FILES) >= 6
    for file in FILES:
        tree = ast.parse(file.read_text())
        assert _constant(tree, "phase") in (schema.EXPAND, schema.CONTRACT), file.name
        assert file.name.partition("_")[0] == _constant(tree, "revision"), file.name
    assert 'phase = "expand"' in (schema.SCRIPTS / "script.py.mako").read_text()


def test_they_are_one_line_and_the_quick_look_knows_all_of_them() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.SCRIPTS))
    chain = [s.revision for s in ScriptDirectory.from_config(config).walk_revisions()]
    assert chain == sorted(revisions(), reverse=True)


def test_an_expansion_takes_nothing_away_and_demands_nothing_of_old_software() -> None:
    for file in FILES[1:]:
        tree = ast.parse(file.read_text())
        if _constant(tree, "phase") != schema.EXPAND:
            continue
        for call in _calls(tree, "upgrade"):
            assert _name(call) not in TAKES_AWAY, f"{file.name}:{call.lineno}: {_name(call)}"
        for call in [c for c in _calls(tree, "upgrade") if _name(c) == "add_column"]:
            (column,) = [a for a in call.args if isinstance(a, ast.Call)]
            words = {k.arg: k.value for k in column.keywords}
            nullable = words.get("nullable")
            optional = isinstance(nullable, ast.Constant) and nullable.value is True
            assert optional or "server_default" in words, f"{file.name}:{call.lineno}: old software inserts without it"
