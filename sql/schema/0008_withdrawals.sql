-- 0008: the standing list of withdrawn and opted-out patients, and how many of their objects the buckets still have.
-- Commits of the list publish nothing: readers ask for its newest state whichever snapshot they read.
create schema if not exists access;
create table if not exists access.withdrawals ({{ define_access_withdrawals }});
create table if not exists access.withheld ({{ define_access_withheld }});
