-- 0007: what was released under each agreement, as sets of patients in digest form. Its commits publish nothing.
create schema if not exists access;
create table if not exists access.releases ({{ define_access_releases }}); -- noqa: PRS
