"""Node and its kin. `NODE_PATH` finds packages that are installed globally."""

from __future__ import annotations

from typing import Final

from proxy.cli.doctor.client import VARIABLES_ALONE, Client, Way

CALL: Final = "$programs/call_node.cjs"
PACKAGE: Final = "console.log(require('{}/package.json').version)"
NODE: Final = ("node", "--version")

CLIENTS: Final = (
    Client("node fetch", "node", (Way(("node", CALL, "fetch", "$url/")),), NODE),
    Client(
        "node fetch (no NODE_USE_ENV_PROXY)", "node",
        (Way(("node", CALL, "fetch", "$url/"), variables={"NODE_USE_ENV_PROXY": "0"}),),
        NODE, modes=VARIABLES_ALONE,
    ),
    Client(
        "node fetch (undici EnvHttpProxyAgent)", "node", (Way(("node", CALL, "undici", "$url/")),),
        ("node", "-e", PACKAGE.format("undici")), modes=VARIABLES_ALONE,
    ),
    Client("node https", "node", (Way(("node", CALL, "https", "$url/")),), NODE),
    Client("node ws", "node", (Way(("node", CALL, "ws", "$url/socket")),), ("node", "-e", PACKAGE.format("ws"))),
    Client("node axios", "node", (Way(("node", CALL, "axios", "$url/")),), ("node", "-e", PACKAGE.format("axios"))),
    Client(
        "npm", "npm",
        (Way(("npm", "view", "briefcased-sample", "--registry=$url/", "--fetch-retries=0")),),
        ("npm", "--version"), patience=2,
    ),
    Client(
        "deno", "deno",
        (Way(("deno", "run", "--quiet", "--allow-net", "--allow-env", "$programs/call_fetch.mjs", "$url/")),),
        ("deno", "--version"),
    ),
    Client("bun", "bun", (Way(("bun", "run", "$programs/call_fetch.mjs", "$url/")),), ("bun", "--version")),
)  # fmt: skip
