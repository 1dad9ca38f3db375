"""The interception CA: issue, constrain, rotate, trust bundles. Start reading at `certs/authority.py`."""
