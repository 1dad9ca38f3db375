"""A SPIFFE Workload API on a unix socket: gRPC, JWT-SVIDs for whoever asks, and rude where it is told to."""

from __future__ import annotations

import time
from concurrent import futures
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from spiffe._proto import workload_pb2, workload_pb2_grpc

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = "spiffe://widgets.example/agents/coder"


@dataclass
class WorkloadApi(workload_pb2_grpc.SpiffeWorkloadAPIServicer):
    """`mood` is how it answers; `asked` are the audiences; `key` signs."""

    socket: Path
    mood: str = ""
    lives_s: int = 300
    identity: str = IDENTITY
    asked: list[tuple[list[str], str]] = field(default_factory=list)
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def start(self) -> None:
        self.server = grpc.server(futures.ThreadPoolExecutor(2))
        workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server(self, self.server)
        self.server.add_insecure_port(f"unix:{self.socket}")
        self.server.start()

    def stop(self) -> None:
        self.server.stop(None).wait()

    def FetchJWTSVID(self, request: Any, context: Any) -> Any:
        if dict(context.invocation_metadata()).get("workload.spiffe.io") != "true":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing")
        self.asked.append((list(request.audience), request.spiffe_id))
        match self.mood:
            case "denied":
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
            case "none":
                return workload_pb2.JWTSVIDResponse(svids=[])
            case "garbage":
                return self._response("not.a.token")
            case "audience":
                return self._response(self.token(["https://elsewhere.test"]))
            case "expired":
                return self._response(self.token(list(request.audience), exp=1_700_000_000))
            case "subject":
                return self._response(self.token(list(request.audience), sub="not a SPIFFE ID"))
            case "slow":
                time.sleep(1.5)
        return self._response(self.token(list(request.audience)))

    def token(self, audience: list[str], **changed: Any) -> str:
        now = int(time.time())
        claims = {"sub": self.identity, "aud": audience, "iat": now, "exp": now + self.lives_s,
                  "n": len(self.asked)} | changed  # fmt: skip
        return jwt.encode(claims, self.key, "ES256", headers={"kid": "one"})

    def _response(self, token: str) -> Any:
        return workload_pb2.JWTSVIDResponse(svids=[workload_pb2.JWTSVID(spiffe_id=self.identity, svid=token)])
