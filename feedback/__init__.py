"""What visitors say, and what becomes of it: what a flag is, and above it floor by floor:

store     kept on this machine: outbox, decisions
hub       to the Hub and from it: segments, sync, fetch, compact
curate    flags to a curated set
review    maintainers decide and count
rights    consent, withdrawal, purge, trace
"""
