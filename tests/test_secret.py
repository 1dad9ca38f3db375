"""P1: a secret refuses to be shown; who may reveal it is a list."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import re
from pathlib import Path

import pytest

from proxy.secret import Secret, SecretExposedError

ROOT = Path(__file__).parents[1]
REVEALS = {
    "proxy/credentials/memory.py",
    "proxy/credentials/vc/kind.py",  # what is parsed and verified before it is used
    "proxy/approval/channels/slack.py",  # the wire to Slack
    "proxy/approval/channels/slack_incoming.py",  # a keyed hash of what Slack sent
    "proxy/approval/channels/webhook.py",  # the wire to a webhook
    "proxy/keys/software.py",
    "proxy/db/shared.py",
    "proxy/keys/remote.py",  # the bearer token of a remote signer
    "proxy/keys/pkcs11.py",  # the PIN of a token
    "proxy/services.py",
    "certs/storage.py",  # the passphrase of the CA's keys
    "proxy/cli/up.py",  # the operator's issuing key
    "proxy/credentials/bindings.py",  # keyed hashes
    "proxy/credentials/broker.py",  # what answers are searched for
    "proxy/credentials/kind.py",  # the wire
    "proxy/credentials/oauth/client.py",  # the wire to the token endpoint
    "proxy/credentials/oauth/forms.py",  # likewise
    "proxy/credentials/oauth/kind.py",  # likewise
    "proxy/credentials/refresher.py",  # a keyed hash of what did not work
    "proxy/egress/handshake.py",  # the wire to an upstream proxy
    "proxy/credentials/azure.py",
    "proxy/credentials/google.py",
    "proxy/credentials/google_federation.py",
    "proxy/credentials/workload_federation.py",
    "proxy/risk/classifier.py",  # the wire to a classifier
    "proxy/secretstore/asking.py",  # the wire to a store
    "proxy/secretstore/local.py",  # the store's passphrase
}


def test_p1_every_way_of_showing_it_raises():
    secret = Secret("name", "value-value")
    for show in (str, format, bytes, list, json.dumps, pickle.dumps, copy.deepcopy, "{}".format, "%s".__mod__):
        with pytest.raises((SecretExposedError, TypeError)):
            show(secret)
    assert "value" not in repr(secret)
    assert repr(secret) == "Secret('name')"
    assert secret.reveal() == b"value-value"
    assert secret == Secret("other", b"value-value")


def test_p1_logging_it_does_not_show_it(capfd):
    logging.getLogger("x").warning("%r", Secret("name", "value-value"))
    assert "value-value" not in capfd.readouterr().err


def test_p1_reveal_is_called_in_known_places_only():
    found = {
        str(path.relative_to(ROOT))
        for package in ("proxy", "addons", "certs")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"\.reveal\(\)", path.read_text()) and path.name != "secret.py"
    }
    assert found == REVEALS
