"""Tools of clouds and clusters, towards another endpoint."""

from __future__ import annotations

from typing import Final

from proxy.cli.doctor.client import NO_BASE_URL, Client, Way

KEYS: Final = {
    "AWS_ACCESS_KEY_ID": "AKIASAMPLE0000000000",
    "AWS_SECRET_ACCESS_KEY": "sample",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

CLIENTS: Final = (
    Client(
        "docker (command line)", "docker",
        (Way(("docker", "manifest", "inspect", "$host:$port/sample/image:latest")),),
        ("docker", "--version"), modes=NO_BASE_URL,
    ),
    Client(
        "kubectl", "kubectl",
        (Way(("kubectl", "get", "--raw=/", "--server=$url", "--token=$key", "--request-timeout=15s")),),
        ("kubectl", "version", "--client"),
    ),
    Client(
        "aws", "aws",
        (Way(("aws", "s3api", "list-buckets", "--endpoint-url=$url"), variables=KEYS),),
        ("aws", "--version"), patience=2,
    ),
    Client(
        "gcloud", "gcloud",
        (Way(("gcloud", "compute", "regions", "list", "--project=sample", "--quiet"),
             variables={"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": "$url/compute/v1/",
                        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": "$folder/token", "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}),),
        ("gcloud", "version"), {"token": "$key"}, patience=3,
    ),
)  # fmt: skip
