"""Compilers and build tools: a call that the tool itself makes, or a program of one file."""

from __future__ import annotations

from typing import Final

from proxy.cli.doctor.client import VARIABLES_ALONE, Client, Mode, Way

TRUST: Final = "-Djavax.net.ssl.trustStore=$truststore -Djavax.net.ssl.trustStorePassword=changeit"
PROXY: Final = "-Dhttps.proxyHost=$proxy_host -Dhttps.proxyPort=$proxy_port"
TUNNEL: Final = "-Djdk.http.auth.tunneling.disabledSchemes="
JAVA: Final = ("java", "-version")
OPTIONS: Final = "JAVA_TOOL_OPTIONS"
SHOWN: Final = f"{OPTIONS} with a trust store (-Djavax.net.ssl.trustStore)"


def _java(name: str, how: str, *code: str) -> Client:
    """A program of one file. Java sends the proxy's password only where an Authenticator is written into the code."""
    call = ("java", "$programs/Call.java", how, "$url/", *code)
    proxied = f"{SHOWN} and the proxy (-Dhttps.proxyHost, -Dhttps.proxyPort)"
    ways = (
        Way(call),
        Way(call, proxied, {OPTIONS: f"{TRUST} {PROXY} {TUNNEL}"}),
        Way(call, SHOWN, {OPTIONS: TRUST}, proxied=False),
    )
    return Client(name, "java", ways, JAVA, modes=VARIABLES_ALONE if code else frozenset(Mode), patience=3)


CLIENTS: Final = (
    Client(
        "cargo", "cargo",
        (Way(("cargo", "search", "--index=sparse+$url/", "briefcased-sample"), variables={"CARGO_NET_RETRY": "0"}),),
        ("cargo", "--version"),
    ),
    Client(
        "go", "go",
        (Way(("go", "list", "-m", "-versions", "sample.test/module"),
             variables={"GOPROXY": "$url", "GOSUMDB": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}),),
        ("go", "version"), patience=2,
    ),
    _java("java HttpClient", "client"),
    _java("java HttpClient (Authenticator)", "client", "authenticator"),
    _java("java HttpsURLConnection", "connection"),
    _java("java HttpsURLConnection (Authenticator)", "connection", "authenticator"),
    Client(
        "dotnet", "dotnet",
        (Way(("dotnet", "package", "search", "sample", "--source", "$url/v3/index.json"),
             variables={"DOTNET_CLI_TELEMETRY_OPTOUT": "1", "DOTNET_NOLOGO": "1"}),),
        ("dotnet", "--version"), patience=3,
    ),
)  # fmt: skip
