"""Between this machine and the Hub: sealed, sent, confirmed, fetched, merged, rewritten."""
