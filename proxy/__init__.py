"""Credential Briefcase: a credential-injecting forward proxy. Start reading at `proxy/pipeline.py`."""

__version__ = "0.1.0"
