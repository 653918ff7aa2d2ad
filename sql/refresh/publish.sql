-- Publishing. One statement under each name; warehouse/steps/publish.py runs them.

-- name: insert
insert into ops.refreshes by name
select
    $refresh_id as refresh_id,
    $source as source,
    $started_at::timestamptz as started_at,
    now() as finished_at,
    $added as added,
    $changed as changed,
    $removed as removed,
    $images as images,
    $clinical as clinical,
    $rejected as rejected,
    $snapshot as snapshot,
    $published as published;

-- name: files
select count(*) from ducklake_list_files('lake', 'images', schema => 'core');

-- name: merge
call ducklake_merge_adjacent_files('lake', max_file_size => 67108864);
