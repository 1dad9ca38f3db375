"""The `anthropic` SDK with whatever credential the environment holds: a message, and one that is streamed."""

import sys

from anthropic import Anthropic

client = Anthropic(base_url=sys.argv[1], max_retries=0, timeout=20)
asked = {"model": "claude-sonnet-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Say hello."}]}
print(client.messages.create(**asked).content[0].text)
with client.messages.stream(**asked) as stream:
    print("".join(stream.text_stream))
