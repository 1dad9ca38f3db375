"""What the sidecar answers itself, one file per kind. The union is the registry. See docs/token-calls.md."""

from typing import Annotated

from pydantic import Field

from proxy.credentials.answers.aws_s3_session import AwsS3SessionAnswer
from proxy.credentials.answers.aws_sts import AwsStsAnswer
from proxy.credentials.answers.document import DocumentAnswer
from proxy.credentials.answers.oauth_token import OAuthTokenAnswer

AnswerSpec = Annotated[
    OAuthTokenAnswer | AwsStsAnswer | AwsS3SessionAnswer | DocumentAnswer, Field(discriminator="kind")
]

__all__ = ["AnswerSpec"]
