"""Request validation: what a call holds, before anything is decided about it. Pure.

spec       the blocks of a profile's YAML         loading   its schema files and its mistakes
received   the body and query in one reading      choosing  which operation a GraphQL or JSON-RPC call is
checking   schemas and fields: `Rules`, `check`
"""

from proxy.catalog.validation.checking import Checked, Rules, check, check_early
from proxy.catalog.validation.choosing import chosen
from proxy.catalog.validation.received import Received

__all__ = ["Checked", "Received", "Rules", "check", "check_early", "chosen"]
