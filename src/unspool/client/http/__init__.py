"""One request over HTTP: how it is sent, whom to trust, where it may be redirected, and what came."""
