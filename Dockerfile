# The sidecar's image. docs/docker.md says how it is built, pinned and run.
#
# A release pins its base by digest: scripts/image --base docker.io/library/python:3.13-slim-trixie@sha256:…
# Any Debian with Python >= 3.12 and its venv module will do.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE_IMAGE} AS build
# For a mirror of the package index, and a network that ends TLS; unset is the usual case.
ARG PIP_INDEX_URL
ARG PIP_CERT
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python3 -m venv /tools \
 && /tools/bin/pip install --quiet --require-hashes --only-binary=:all: --no-deps -r requirements/build.txt \
 && /tools/bin/pip install --quiet --require-hashes --only-binary=:all: --no-deps -r requirements/runtime.txt --target=/app
COPY pyproject.toml README.md LICENSE ./
COPY proxy/ proxy/
COPY addons/ addons/
COPY certs/ certs/
COPY profiles/ profiles/
COPY deploy/docker/assemble deploy/docker/
ARG SOURCE_DATE_EPOCH=315532800
RUN SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH}" deploy/docker/assemble

FROM ${BASE_IMAGE} AS trimmed
COPY deploy/docker/trim /trim
RUN ["/bin/sh", "/trim"]

# From scratch, so that what was trimmed is in no layer.
FROM scratch
# hadolint ignore=DL3067
COPY --from=trimmed / /
COPY --from=build /image/ /
ENV PATH=/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    HOME=/var/lib/briefcased \
    BRIEFCASED_HOME=/var/lib/briefcased \
    PYTHONPATH=/opt/briefcased \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RES_OPTIONS="timeout:1 attempts:2"
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Credential Briefcase" \
      org.opencontainers.image.description="A credential-injecting forward proxy for AI agents: the agent never holds a token." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
USER 65532:65532
WORKDIR /var/lib/briefcased
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["briefcased", "health"]
ENTRYPOINT ["briefcased"]
CMD ["up", "--config", "/etc/briefcased/briefcased.yaml"]
