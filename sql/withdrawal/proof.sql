-- Searches what is left for purged patients. One statement under each name; warehouse/withdrawal/proof.py and
-- cleaning_up.py run them.

-- name: values
select count(*) from {{ scan }} where {{ tests }};

-- name: blob
select content from read_blob({{ path }});

-- name: pages
-- Where a Parquet file has the compressed pages of a column, and their bytes.
select
    least(data_page_offset, coalesce(nullif(dictionary_page_offset, 0), data_page_offset)) as first_byte,
    total_compressed_size
from parquet_metadata({{ path }})
where compression <> 'UNCOMPRESSED';

-- name: sha256
select sha256(content) from read_blob({{ path }});

-- name: cleanup
select path from ducklake_cleanup_old_files('lake', cleanup_all => true);

-- name: orphans
select path from ducklake_delete_orphaned_files('lake', dry_run => {{ dry_run }}, cleanup_all => true);

-- name: others
-- Those who are still in the lake: a purged pseudonym may be a part of theirs.
select distinct patient_id from lake.raw.objects where patient_id is not null;
