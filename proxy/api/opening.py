"""Opens the control API, where the configuration wants it: without it, its framework is never loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.identity.operator_registry import OperatorRegistry

if TYPE_CHECKING:
    from proxy.api.call import ApiServices
    from proxy.api.listener import ApiListener
    from proxy.settings import Listeners, Settings


def open_api(listeners: Listeners, services: ApiServices) -> ApiListener | None:
    """The API, not yet listening; None where no listener is configured."""
    if listeners.api is None and listeners.admin is None:
        return None
    from proxy.api.listener import ApiListener  # noqa: PLC0415
    from proxy.api.logins import Logins  # noqa: PLC0415

    def settings() -> Settings:
        return services.generation().settings

    registry = OperatorRegistry(services.database, services.shared, lambda: settings().operators, services.clock)
    logins = Logins(services.http, settings, services.clock)
    return ApiListener(services, registry, logins, lambda: settings().operators)
