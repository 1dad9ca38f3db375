"""What a call may use at most, and what it has used: read from requests and answers, as profiles say. Pure."""
