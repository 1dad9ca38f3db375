"""The only package that knows mitmproxy's hooks: each module translates some of them into calls of the pipeline."""
