-- What untrusted SQL must not get away with: one a paragraph (tests/query/test_untrusted.py fills the holes).

from read_text('{secret}')

select (select content from read_text('{secret}'))

from read_blob('{catalogue}')

from read_csv('{secret}')

from read_parquet('{data}**/*.parquet')

from '{datafile}'

from "{datafile}"

from glob('{data}*')

from parquet_metadata('{datafile}')

from parquet_schema('{datafile}')

from sniff_csv('{secret}')

from read_json_auto('{secret}')

from sqlite_scan('{catalogue}', 'ducklake_table')

from sqlite_query('__ducklake_metadata_lake', 'select 1')

copy (select 1) to '{target}'

copy patients to '{data}x.parquet'

export database '{target}'

attach '{target}'

attach ':memory:' as m

detach lake

install httpfs

load httpfs

set variable as_of = null

set variable group_name = 'all'

set memory_limit = '10GB'

reset variable as_of

reset enable_external_access

pragma database_list

pragma show_tables

pragma table_info('patients')

call ducklake_snapshots('lake')

from ducklake_snapshots('lake')

from lake.snapshots()

from ducklake_list_files('lake', 'images', schema => 'core')

from ducklake_table_changes('lake', 'core', 'images', 0, 9)

from ducklake_table_insertions('lake', 'core', 'images', 0, 9)

from 'https://example.org/x.csv'

from 's3://bucket/x.parquet'

select getenv('HOME')

select getvariable('group_name')

select current_setting('temp_directory')

from duckdb_settings()

from duckdb_tables()

from duckdb_secrets()

from duckdb_variables()

from duckdb_databases

from information_schema.tables

from pg_catalog.pg_class

from sqlite_master

from __ducklake_metadata_lake.ducklake_data_file

from "__ducklake_metadata_lake".main."ducklake_snapshot"

from core.images

from lake.core.images

from "LAKE"."CORE"."Images"

from raw.headers

from raw.records

from ops.rejects

describe core.images

summarize core.images

from (describe raw.records)

show tables

show all tables

from (show tables)

describe

explain from patients

explain analyze from core.images

select * from images at (version => 1)

select * from core.images at (timestamp => now())

from patients; from core.images

select 1; drop view patients

select 1 /* */; /* */ copy (select 1) to '{target}'

from query('from core.images')

from query_table('core.images')

from query_table(['core.images'])

select * from json_execute_serialized_sql(json_serialize_sql('from core.images'))

select json_serialize_plan('from core.images')

with x as (insert into core.images values (1) returning *) from x

insert into core.images select * from core.images

delete from core.images

update core.images set key = ''

create temp view patients as from core.images

create table memory.main.t as from core.images

create macro lower(x) as 1

drop view patients

prepare p as from core.images

execute p

use memory

checkpoint

vacuum

from python_variable

select * from patients union all by name select * from core.images

select 1 where exists (from core.images)

select 1 order by (select count(*) from core.images)

select 1 limit (select count(*) from core.images)

select count(*) filter (where exists (from core.images)) from patients

select sum(n_images) over (order by (select count(*) from core.images)) from patients

select case when (select count(*) from core.images) > 0 then 1 end

select * from patients p join core.images i on p.patient_id = i.patient_id

select * from patients positional join core.images

select * from patients, lateral (select * from core.images i where i.patient_id = patients.patient_id)

select * from patients qualify row_number() over () < (select count(*) from core.images)

select * replace ((select count(*) from core.images) as age) from patients

select list_transform([1], lambda x: (select count(*) from core.images))

select columns(lambda c: c = (select max(key) from core.images)) from patients

pivot core.images on Modality in ('CT') using count(*)

select * from (pivot patients on sex in (select distinct Modality from core.images) using count(*))

unpivot core.images on key into name a value b

values ((select count(*) from core.images))

select [(select count(*) from core.images)]

select distinct on ((select 1 from core.images limit 1)) 1 from patients

select count(*) from patients group by (select count(*) from core.images)

select tag((select header from raw.headers limit 1), 'KVP')

from known_at((select patient_id from core.clinical limit 1), date '2021-01-01')

from range((select count(*) from core.images))

select unnest((select list(key) from core.images))

with core as (select 1), x as (from core.images) from x

with "core.images" as (select 1) select * from "core.images", core.images

with recursive r as (select 1 as n union all select n + 1 from r, core.images) from r

select * from (with "{secret}" as (select 1) select 1), '{secret}'

with "{secret}" as (from "{secret}") from "{secret}"

with a as (from b), b as (select 1) from a

select stats(key) from images

select nextval('s')

select write_log('x')

select sleep_ms(100000)

select pg_sleep(1000)

from test_all_types()

from repeat('x', 1000000000)

from pragma_table_info('core.images')

from pragma_storage_info('core.images')

from pragma_database_size()

from duckdb_logs

select main.getvariable('x')

select system.main.getvariable('group_name')

select "GetVariable"('group_name')

select 'group_name'.getvariable()

select in_search_path('lake', 'core')

select current_query()

from seq_scan('core.images')

from which_secret('s3://x', 's3')

load '{secret}'

import database '{target}'

comment on view patients is 'x'

alter view patients rename to p

create secret s (type s3)

begin

commit

rollback

call lake.set_option('parquet_compression', 'zstd')

call ducklake_expire_snapshots('lake', older_than => now())

call lake.merge_adjacent_files()

create or replace temp macro tag(a, b) as table from core.images

set lock_configuration = false

set python_enable_replacements = true

merge into core.images using patients on true when matched then delete

truncate core.images

from postgres_scan('host=localhost', 'public', 'x')

select * from patients where key = (select min(content) from read_text('/etc/passwd'))

from images i(source, key, etag, size, last_modified, g) natural join core.images

from core.images where available_date <= date '9999-12-31'

from core.images where (coalesce('all', 'training') = 'all' or group_name = coalesce('all', 'training'))

from core.images where ('training' = 'all' or group_name = 'training') or true

select /* from patients */ * from /*
*/ core.images -- from patients

select * from"core"."images"

from (values ('core.images')) t(name), query_table(t.name)

select * from images i where i.key in (select key from core.images c where c.patient_id = i.patient_id)

select (from core.images select count(*))

table core.images

select $$core.images$$, (select count(*) from core.images)

with patients as (from core.clinical) from patients

with images as (select 1) select * from lake.core.images, images

from memory.main.patients

from temp.main.patients

select array(select key from core.images)

select {'a': (select max(key) from core.images)}

select * from (pivot core.clinical on kind in ('data') using count(*))

select * from patients anti join core.images using (patient_id)

select * from patients asof join core.clinical c on patients.patient_id = c.patient_id and patients.clinical_date >= c.available_date

(select 1) union (select count(*) from core.images)

select 1 except select count(*) from core.images

select any_value((select count(*) from core.images) order by 1)

select 1 having (select count(*) from core.images) > 0

with a as materialized (from core.images) select count(*) from a

select list_transform([1], x -> getvariable('group_name'))

select cast(getvariable('group_name') as varchar)

select getvariable('group' || '_name') from patients

values (getvariable('group_name'))

from range(length(getvariable('group_name')))

select unnest([current_setting('temp_directory')])

from images at (timestamp => timestamp '2020-01-01')

from lake.main.images at (version => 1)

describe patients

describe select 1

describe

describe tables

show

show tables

show all tables

show databases

show variables

from (describe patients)

from (describe)

from (show tables)

from (show all tables)

from (show databases)

from (show variables)

from (describe select * from core.images)

select (select column_name from (describe patients) limit 1)

with names as (from (describe images)) from names

summarize core.clinical

from (summarize raw.records)

from histogram('core.clinical', 'kind')

from histogram_values('core.clinical', 'kind')

select * from query_table(['core.clinical'])

from core.clinical as t(source, key, etag, size, last_modified, "available_date", "group_name")

select (select max(t.pseudonym) from core.clinical t where o.available_date <= coalesce(cast(getvariable('as_of') as date), date '9999-12-31') and coalesce(getvariable('group_name'), 'training') in (o.group_name, 'all')) from clinical_history o

from clinical_history o, lateral (select pseudonym from core.clinical t where o.available_date <= coalesce(cast(getvariable('as_of') as date), date '9999-12-31') and coalesce(getvariable('group_name'), 'training') in (o.group_name, 'all')) x
