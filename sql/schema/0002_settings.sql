-- 0002: how DuckLake writes the tables; DuckLake takes settings only of tables that are committed already.
-- Inlining stays off: with it old snapshots changed after a rewrite.
call {{ lake }}.set_option('data_inlining_row_limit', 0);
call {{ lake }}.set_option('parquet_compression', 'zstd');
call {{ lake }}.set_option('target_file_size', '256MB');
call {{ lake }}.set_option('rewrite_delete_threshold', 0.1);
-- The size of row groups decides the peak memory of a refresh; whole headers are wide.
call {{ lake }}.set_option('parquet_row_group_size', 32768);
call {{ lake }}.set_option('parquet_row_group_size', 2048, schema => 'raw', table_name => 'headers');
call {{ lake }}.set_option('parquet_row_group_size', 2048, schema => 'raw', table_name => 'records');
call {{ lake }}.set_option('target_file_size', '128MB', schema => 'raw', table_name => 'headers');
