"""Finds the plugins, and refuses at start what would fail at three in the morning.

pluggy checks no types, accepts misspelt hooks unless `check_pending` is called, and hands back the coroutine of an
`async def` hook: all three are checked here, and every error names the plugin, where it comes from, and the mend.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

import pluggy
from pydantic import BaseModel, ValidationError

from app.domain.node import Node
from app.domain.placement_advice import PlacementAdvice
from app.domain.vm import Vm
from app.plugin_api import hookspecs
from app.plugin_api.drivers import BillingDriver, NetworkContext, NetworkDriver, PoolContext, StorageDriver
from app.plugin_api.placement_hooks import GuardedHook, Hook, advice_of, is_reason, is_score
from app.ports.billing import Delivery
from app.ports.network import PathWatch
from app.ports.storage import Pool
from app.ports.storage_fence import StorageFence

#: entry point group -> the hook its plugins implement, and what that returns
GROUPS: Mapping[str, tuple[str, type]] = {
    "holdfast.storage": ("holdfast_storage_driver", StorageDriver),
    "holdfast.network": ("holdfast_network_driver", NetworkDriver),
    "holdfast.billing": ("holdfast_billing_driver", BillingDriver),
}
#: plugins without a driver: they only take part in placement
PLACEMENT = "holdfast.placement"
_PREFIX = "holdfast_"


class PluginError(Exception):
    """A plugin cannot be used, or its options are wrong. The text says which, why, and what to do."""


class Registry:
    """The drivers of all plugins, by group and name."""

    def __init__(self, drivers: Mapping[tuple[str, str], Any], manager: pluggy.PluginManager) -> None:
        self._drivers = dict(drivers)
        self._manager = manager

    @classmethod
    def load(cls, found: Iterable[EntryPoint] | None = None) -> "Registry":
        """Load all entry points of our groups (or those given). PluginError on the first that is wrong."""
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        if found is None:
            found = [point for group in (*GROUPS, PLACEMENT) for point in entry_points(group=group)]
        drivers: dict[tuple[str, str], Any] = {}
        offered_by: dict[tuple[str, str], EntryPoint] = {}
        for point in found:
            module = _import(point)
            _register(manager, module, point)
            if point.group == PLACEMENT:
                _check_placement(module, point)
                continue
            driver = _driver(module, point)
            key = point.group, driver.name
            if key in drivers:
                other = _named(offered_by[key])
                raise PluginError(f"{_named(point)}: the driver {driver.name!r} is that of {other} too: remove one")
            drivers[key], offered_by[key] = driver, point
        return cls(drivers, manager)

    def names(self, group: str) -> tuple[str, ...]:
        """The drivers of a group that can be configured."""
        return tuple(sorted(name for g, name in self._drivers if g == group))

    def storage(self, driver: str, options: Mapping[str, object], *, name: str, shared: bool) -> Pool:
        """Open a pool. PluginError for options that are wrong, and for a plugin that does not return a pool."""
        offered, parsed = self._options("holdfast.storage", driver, options, f"pool {name}")
        what = f"pool {name}: driver {driver}"
        pool: Pool = _opened(Pool, what, lambda: offered.open(parsed, PoolContext(name, shared)))
        return pool

    def storage_fence(
        self, driver: str, options: Mapping[str, object], *, name: str, shared: bool
    ) -> StorageFence | None:
        """The fence of a pool that all nodes share; None where there is none to offer. PluginError as for a pool."""
        offered, parsed = self._options("holdfast.storage", driver, options, f"pool {name}")
        if offered.fence is None or not shared:
            return None
        what = f"the fence of pool {name}: driver {driver}"
        fence: StorageFence = _opened(StorageFence, what, lambda: offered.fence(parsed, PoolContext(name, shared)))
        return fence

    def network(self, driver: str, options: Mapping[str, object], context: NetworkContext) -> PathWatch:
        """Open a network plugin. PluginError as for a pool."""
        offered, parsed = self._options("holdfast.network", driver, options, f"network {driver}")
        watch: PathWatch = _opened(PathWatch, f"network {driver}", lambda: offered.open(parsed, context))
        return watch

    def billing(self, driver: str, options: Mapping[str, object]) -> Delivery:
        """Open a billing plugin. PluginError as for a pool."""
        offered, parsed = self._options("holdfast.billing", driver, options, f"billing {driver}")
        delivery: Delivery = _opened(Delivery, f"billing {driver}", lambda: offered.open(parsed))
        return delivery

    def admission_votes(self) -> tuple[Callable[..., str | None], ...]:
        """One callable for every plugin that votes on new VMs: the keywords of the hook in, its answer out."""
        return tuple(_vote(i) for i in self._manager.hook.holdfast_admit_vm.get_hookimpls())

    def placement_advice(self) -> PlacementAdvice | None:
        """What all plugins add to placement, made safe; None where no plugin does."""
        hook = self._manager.hook
        filters = [
            GuardedHook(i.plugin_name, "holdfast_placement_filter", _asking(i), is_reason, "node names with reasons")
            for i in hook.holdfast_placement_filter.get_hookimpls()
        ]
        scores = [
            GuardedHook(i.plugin_name, "holdfast_placement_score", _asking(i), is_score, "node names with numbers")
            for i in hook.holdfast_placement_score.get_hookimpls()
        ]
        return advice_of(filters, scores)

    def _options(self, group: str, driver: str, options: Mapping[str, object], what: str) -> tuple[Any, BaseModel]:
        offered = self._drivers.get((group, driver))
        if offered is None:
            there = ", ".join(self.names(group)) or "none"
            raise PluginError(f"{what}: there is no driver {driver!r}; installed: {there}")
        try:
            return offered, offered.options.model_validate(dict(options))
        except ValidationError as error:
            wrong = "; ".join(_sentence(list(map(str, e["loc"])), e["msg"]) for e in error.errors())
            known = ", ".join(offered.options.model_fields) or "none"
            raise PluginError(f"{what}: wrong options for driver {driver}: {wrong} (its options: {known})") from error


def _sentence(place: list[str], message: str) -> str:
    said = (
        message.removeprefix("Value error, ").removeprefix("Extra inputs are not permitted")
        or "there is no such option"
    )
    return f"{'.'.join(place)}: {said}" if place else said


def _asking(implementation: pluggy.HookImpl) -> Hook:
    """An implementation may take fewer arguments than the hook has."""

    def ask(vm: Vm, nodes: tuple[Node, ...]) -> Any:
        given = {"vm": vm, "nodes": nodes}
        return implementation.function(*(given[name] for name in implementation.argnames))

    return ask


def _check_placement(module: ModuleType, point: EntryPoint) -> None:
    hooks = ("holdfast_placement_filter", "holdfast_placement_score")
    if not any(hasattr(module, hook) for hook in hooks):
        raise PluginError(f"{_named(point)}: is in the group {PLACEMENT} but has neither {' nor '.join(hooks)}")


def _vote(implementation: pluggy.HookImpl) -> Callable[..., str | None]:
    """An implementation may take fewer arguments than the hook has, as everywhere in pluggy."""

    def vote(**arguments: object) -> str | None:
        answer = implementation.function(*(arguments[name] for name in implementation.argnames))
        if answer is not None and not isinstance(answer, str):
            said = type(answer).__name__
            raise PluginError(f"{implementation.plugin_name}: holdfast_admit_vm must return None or a text, not {said}")
        return answer

    return vote


def _opened(kind: type, what: str, open_it: Callable[[], Any]) -> Any:
    """What the driver opened, if it has every method of the port. The types of their arguments are mypy's business."""
    try:
        value = open_it()
    except Exception as error:
        raise PluginError(f"{what} cannot be opened: {type(error).__name__}: {error}") from error
    wanted = [name for name, member in vars(kind).items() if inspect.isfunction(member) and not name.startswith("_")]
    lacking = [name for name in wanted if not callable(getattr(value, name, None))]
    is_async = [name for name in wanted if inspect.iscoroutinefunction(getattr(value, name, None))]
    if lacking:
        raise PluginError(f"{what}: open returned a {type(value).__name__}, which lacks {', '.join(lacking)}")
    if is_async:
        raise PluginError(f"{what}: {', '.join(is_async)} is async; the methods of a {kind.__name__} are plain ones")
    return value


def _named(point: EntryPoint) -> str:
    dist = f" of {point.dist.name} {point.dist.version}" if point.dist else ""
    return f"plugin {point.name!r}{dist} ({point.value})"


def _import(point: EntryPoint) -> ModuleType:
    try:
        module = point.load()
    except Exception as error:
        raise PluginError(f"{_named(point)} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(module, ModuleType):
        raise PluginError(f"{_named(point)}: the entry point must name a module, not {type(module).__name__}")
    return module


def _register(manager: pluggy.PluginManager, module: ModuleType, point: EntryPoint) -> None:
    known = {name for name in vars(hookspecs) if name.startswith(_PREFIX)}
    for name, function in vars(module).items():
        if not name.startswith(_PREFIX) or not inspect.isfunction(function):
            continue
        if name not in known:
            raise PluginError(f"{_named(point)}: there is no hook {name}; there are {', '.join(sorted(known))}")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise PluginError(f"{_named(point)}: {name} is async; hooks are plain functions")
        if not hasattr(function, f"{hookspecs.PROJECT}_impl"):
            raise PluginError(f"{_named(point)}: {name} lacks @hookimpl and would never be called")
    if manager.is_registered(module):
        return  # one module may offer drivers of several groups
    try:
        manager.register(module, name=f"{point.group}:{point.name}")
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        raise PluginError(f"{_named(point)}: {error}") from error


def _driver(module: ModuleType, point: EntryPoint) -> Any:
    hook, kind = GROUPS[point.group]
    function = getattr(module, hook, None)
    if function is None:
        raise PluginError(f"{_named(point)}: is in the group {point.group} but has no {hook}")
    try:
        driver = function()
    except Exception as error:
        raise PluginError(f"{_named(point)}: {hook} failed: {type(error).__name__}: {error}") from error
    if not isinstance(driver, kind):
        if inspect.iscoroutine(driver):
            driver.close()  # else Python warns that nobody awaited it
        raise PluginError(f"{_named(point)}: {hook} must return a {kind.__name__}, not {type(driver).__name__}")
    if not isinstance(driver.name, str) or not driver.name:  # type: ignore[attr-defined]
        raise PluginError(f"{_named(point)}: {hook}: the driver needs a name")
    options = driver.options  # type: ignore[attr-defined]
    if not (inspect.isclass(options) and issubclass(options, BaseModel)):
        raise PluginError(f"{_named(point)}: {hook}: options must be a pydantic model class")
    if options.model_config.get("extra") != "forbid":
        raise PluginError(
            f'{_named(point)}: {options.__name__} must have extra="forbid": a misspelt option is an error'
        )
    if not callable(driver.open):  # type: ignore[attr-defined]
        raise PluginError(f"{_named(point)}: {hook}: open must be callable")
    fence = getattr(driver, "fence", None)
    if fence is not None and not callable(fence):
        raise PluginError(f"{_named(point)}: {hook}: fence must be callable, or None where pools cannot cut a node off")
    return driver
