"""The `openai` SDK: a list of models, a chat completion, and one that is streamed."""

import sys

from openai import OpenAI

client = OpenAI(base_url=sys.argv[1], max_retries=0, timeout=20)
print(client.models.list().data[0].id)
question = [{"role": "user", "content": "Say hello."}]
print(client.chat.completions.create(model="gpt-5.2", messages=question).choices[0].message.content)
with client.chat.completions.create(model="gpt-5.2", messages=question, stream=True) as stream:
    print("".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices))
