-- 0010: headers that are read from .dcm objects. Until now every header was a .json; and how the keys of a source are
-- laid out, where they are not laid out as usual.
create table if not exists ops.layouts ({{ define_ops_layouts }}); -- noqa: PRS
alter table core.images add column if not exists header_source varchar default 'json'; -- noqa: PRS
