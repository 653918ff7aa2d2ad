-- 0006: the checksums of the lake's own Parquet files. Its commits publish nothing, and come after what they record.
create table if not exists ops.files ({{ define_ops_files }});
