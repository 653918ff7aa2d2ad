-- 0005: the log of access: requests, reviews, decisions, agreements and what was released under them. Its commits publish
-- nothing, as those of the register of manifests. Rows are appended; each has the hash of the one before.
create schema if not exists access;
create table if not exists access.events ({{ define_access_events }}); -- noqa: PRS
