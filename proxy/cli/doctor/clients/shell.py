"""Programs of the command line."""

from __future__ import annotations

from typing import Final

from proxy.cli.doctor.client import Client, Way

BEARER: Final = "Authorization: Bearer $key"

CLIENTS: Final = (
    Client("curl", "curl", (Way(("curl", "-sS", "-H", BEARER, "$url/")),), ("curl", "--version")),
    Client(
        "wget",
        "wget",
        (
            Way(("wget", "-O", "-", "--tries=1", f"--header={BEARER}", "$url/")),
            Way(
                ("wget", "-O", "-", "--tries=1", f"--header={BEARER}", "--ca-certificate=$bundle", "$url/"),
                "--ca-certificate=$bundle (or ca_certificate in ~/.wgetrc)",
            ),
        ),
        ("wget", "--version"),
    ),
    Client(
        "git",
        "git",
        (Way(("git", "ls-remote", "$url/sample.git"), variables={"GIT_TERMINAL_PROMPT": "0"}),),
        ("git", "--version"),
    ),
    Client(
        "gh",
        "gh",
        (Way(("gh", "api", "$url/user"), variables={"GH_TOKEN": "$key", "GH_PROMPT_DISABLED": "1"}),),
        ("gh", "--version"),
    ),
    Client(
        "perl (HTTP::Tiny)",
        "perl",
        (Way(("perl", "$programs/call.pl", "$url/")),),
        ("perl", "-MIO::Socket::SSL", "-e", 'printf "%vd", $^V'),
    ),
    Client(
        "ruby (Net::HTTP)",
        "ruby",
        (Way(("ruby", "$programs/call.rb", "$url/")),),
        ("ruby", "--version"),
        resolves=True,
    ),
    Client(
        "php (curl)",
        "php",
        (
            Way(("php", "$programs/call.php", "$url/")),
            Way(("php", "-d", "curl.cainfo=$bundle", "$programs/call.php", "$url/"), "curl.cainfo=$bundle in php.ini"),
        ),
        ("php", "-r", "curl_version() || exit(1); echo PHP_VERSION;"),
    ),
)
