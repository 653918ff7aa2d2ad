-- Whether the files of a lake are encrypted, and what its catalogue keeps besides their keys. One statement under each
-- name; warehouse/lake/encryption.py runs them. `catalogue` is the schema where DuckLake keeps its own tables.

-- name: setting
-- By way of DuckLake: within a transaction, reading its tables directly would lock a SQLite catalogue against itself.
select value from ducklake_options('lake') where option_name = $key and scope = 'GLOBAL' limit 1;

-- name: add
insert into {{ catalogue }}.ducklake_metadata (key, value) values ($key, $value);

-- name: keys
-- The files of all snapshots, and those of them that have a key.
select count(*) as n_files, count(encryption_key) as n_keys
from (
    select encryption_key from {{ catalogue }}.ducklake_data_file
    union all
    select encryption_key from {{ catalogue }}.ducklake_delete_file
) as files;
