"""The route file's own limits, and the networks of its trusted proxies, as requests read them.

Source: design section 11; requirements B5, X3.
"""

from gateway.config.compile_checks import Compilation
from gateway.config.policies import AddressPrefixModel, PolicyModel
from gateway.config.pricing_checks import POLICY_COUNTER
from gateway.config.yaml_positions import Path
from gateway.http.addresses import Network, network_in
from gateway.rules.identifiers import suggestion
from gateway.rules.limits import Action, Ladder, LimitKind, PolicyName, Scope
from gateway.rules.plan import Aggregation
from gateway.rules.units import MICRO
from gateway.rules.windows import Window, WindowKind


def trusted_networks(work: Compilation) -> tuple[Network, ...]:
    """Return the networks whose proxies are believed."""
    networks = []
    for index, text in enumerate(work.file.trusted_proxies):
        try:
            networks.append(network_in(text))
        except ValueError as error:
            work.fault(("trusted_proxies", index), str(error), "a network such as 10.0.0.0/8")
    return tuple(networks)


def policy_of(work: Compilation, index: int, model: PolicyModel) -> Ladder:
    """Return the limit of a policy."""
    if not work.knows_meter(model.meter):
        at: Path = ("policies", index, "meter")
        work.fault(at, f"no meter is called {model.meter}", suggestion(model.meter, work.meters))
    if model.address_prefix is not None and model.scope != Scope.ADDRESS.value:
        message = f"without effect: {model.name} does not count by address"
        work.fault(("policies", index, "address_prefix"), message, "scope: address")
    prefix = model.address_prefix or AddressPrefixModel()
    cap_micro = model.cap * MICRO
    return Ladder(
        id=model.name,
        counter=f"{POLICY_COUNTER}{model.name}",
        kind=LimitKind(model.kind),
        meter=model.meter,
        window=_window(work, ("policies", index, "window"), model),
        scope=Scope(model.scope),
        soft=PolicyName(model.name, cap_micro),
        hard=None,
        block_cap_micro=cap_micro,
        grace_from_micro=None,
        retention_seconds=0,
        alerts=False,
        counts_calls=_counts_calls(work, ("policies", index, "meter"), model),
        action=Action(model.action),
        ipv4_bits=prefix.ipv4,
        ipv6_bits=prefix.ipv6,
    )


def _window(work: Compilation, at: Path, model: PolicyModel) -> Window:
    if not isinstance(model.window, str):
        if model.window < 1 or model.window != int(model.window):
            work.fault(at, "a window is whole seconds, at least one")
        return Window(WindowKind.SECONDS, max(1, int(model.window)))
    # One policy is in force with every version: it can't follow several of their clocks.
    zones = sorted({pricing.timezone for pricing in work.pricings})
    if model.window != "none" and len(zones) > 1:
        message = f"the versions of the pricing have several time zones: {', '.join(zones)}"
        work.fault(at, message, "one timezone in all of them, or a window such as 60s")
    return Window(WindowKind(model.window), timezone=zones[0] if zones else "UTC")


def _counts_calls(work: Compilation, at: Path, model: PolicyModel) -> bool:
    """Return whether every call counts as one unit of the billed meter, as in the plans' limits."""
    found = {
        pricing.meter.aggregation for pricing in work.pricings if pricing.meter.name == model.meter
    }
    if Aggregation.MAX in found:
        work.fault(at, "a peak can't be limited (meter.aggregation is max)")
    elif len(found) > 1:
        message = f"the versions of the pricing add {model.meter} up in several ways"
        work.fault(at, message, "one meter.aggregation in all of them")
    return found == {Aggregation.COUNT}
