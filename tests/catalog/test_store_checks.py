"""`secret_stores`: every mistake is found before the sidecar starts."""

from __future__ import annotations

import orjson
import pytest
from pydantic import ValidationError

from proxy.catalog.configuration import load_configuration
from proxy.catalog.store_checks import login_refs, store_mistakes
from proxy.settings import Settings

VAULT = {"address": "https://vault.example.test", "auth": {"token": "file:/run/token"}}


def settings(mode="reference", secrets=None, **stores):
    accounts = {"main": {"secrets": secrets or {"token": "file:/run/github"}}}
    data = {"version": 1, "mode": mode, "providers": {"github": {"accounts": accounts}}, "secret_stores": stores}
    return Settings.model_validate_json(orjson.dumps(data))


def found(one):
    return {".".join(map(str, place)): message for place, message in store_mistakes(one)}


def test_what_is_right():
    assert found(settings(secrets={"token": "vault:kv/github#token"}, vault=VAULT)) == {}
    assert found(settings(secrets={"token": "keyring:github.com/me"})) == {}
    assert found(settings(vault=VAULT | {"auth": {"token": "keyring:vault/me"}})) == {}


def test_a_ref_to_a_store_without_settings():
    (place,) = found(settings(secrets={"token": "vault:kv/github#token"}))
    assert place == "providers.github.accounts.main.secrets.token"


@pytest.mark.parametrize("ref", ["vault:kv/x#y", "gcpsm:project/name", "hvs.pasted-token", "op:a/b/c"])
def test_a_login_rests_in_a_store_that_needs_no_network(ref):
    mistakes = found(settings(vault=VAULT | {"auth": {"token": ref}}))
    assert list(mistakes) == ["secret_stores.vault.auth.token"]
    assert "pasted" not in str(mistakes)


def test_every_secret_ref_of_every_section_is_known():
    stores = {
        "vault": VAULT
        | {"auth": {"method": "approle", "role_id": "env:A", "secret_id": "env:B", "token": "env:C", "jwt": "env:D"}},
        "gcpsm": {"auth": {"key": "env:E", "subject_token": "env:F"}},
        "azurekv": {"auth": {"client_secret": "env:G", "token": "env:H"}},
        "op": {"token": "env:I"},
        "bw": {"token": "env:J", "session": "env:K"},
        "infisical": {"project": "x", "auth": {"client_id": "env:L", "client_secret": "env:M", "jwt": "env:N"}},
        "sops": {"age_key": "env:O"},
        "awssm": {"auth": {"access_key_id": "env:P", "secret_access_key": "env:Q", "session_token": "env:R"}},
        "awsssm": {"auth": {"token": "env:S"}},
    }
    assert sorted(ref for _, ref in login_refs(settings(**stores).secret_stores)) == [
        f"env:{c}" for c in "ABCDEFGHIJKLMNOPQRS"
    ]


@pytest.mark.parametrize(
    ("stores", "told"),
    [
        ({"vault": {"address": "https://v.test", "auth": {"method": "approle"}}}, "approle needs role_id"),
        ({"vault": {"address": "http://v.test", "auth": {"token": "env:X"}}}, "address"),
        ({"vault": {"address": "https://me:pw@v.test", "auth": {"token": "env:X"}}}, "address"),
        ({"gcpsm": {"auth": {"method": "federation", "audience": "x"}}}, "federation needs subject_token"),
        ({"azurekv": {"auth": {"method": "client_secret", "tenant": "x"}}}, "needs client_id and client_secret"),
        ({"azurekv": {"suffix": "vault.azure.net/x"}}, "suffix"),
        ({"awssm": {"auth": {"method": "keys", "access_key_id": "env:X"}}}, "keys needs secret_access_key"),
        ({"awsssm": {"auth": {"method": "web_identity", "token": "env:X"}}}, "web_identity needs role_arn"),
        ({"awsssm": {"auth": {"method": "profile", "file": "relative"}}}, "file"),
        ({"op": {"address": "https://c.test"}}, "needs token"),
        ({"bw": {}}, "secrets_manager needs token"),
        ({"infisical": {"project": "x", "auth": {}}}, "universal needs client_id"),
    ],
)  # fmt: skip
def test_what_the_schema_refuses(stores, told):
    with pytest.raises(ValidationError, match=told):
        settings(**stores)


def test_paths_count_from_the_file(tmp_path):
    (tmp_path / "ca.pem").write_text("x")
    path = tmp_path / "briefcased.yaml"
    path.write_text(
        "version: 1\nproviders: {github: {accounts: {main: {secrets: {token: 'vault:kv/github#token'}}}}}\n"
        "secret_stores:\n  k8s: {directory: mounts}\n"
        "  vault: {address: 'https://vault.example.test', ca_file: ca.pem, auth: {token: 'file:/run/token'}}\n"
    )
    own = load_configuration(path).settings.secret_stores
    assert own.vault.ca_file == tmp_path / "ca.pem"
    assert own.k8s.directory == tmp_path / "mounts"


def test_in_ga_no_login_is_in_the_environment():
    from proxy.catalog.modes import mode_mistakes

    one = settings("ga", vault=VAULT | {"auth": {"token": "env:VAULT_TOKEN"}})
    assert ("secret_stores", "vault", "auth", "token") in [place for place, _ in mode_mistakes(one, {})]


def test_every_address_of_a_store_is_checked():
    bad = "https://x.test:99999"
    stores = {
        "vault": {"address": bad, "auth": {"token": "env:TOKEN"}},
        "gcpsm": {"token_address": bad, "iam_address": "https://iam.test"},
        "azurekv": {"login_address": bad},
        "awssm": {"sts_address": bad},
    }
    assert sorted(found(settings(**stores))) == [
        "secret_stores.awssm.sts_address",
        "secret_stores.azurekv.login_address",
        "secret_stores.gcpsm.token_address",
        "secret_stores.vault.address",
    ]
