-- 0001: schemas and tables. Columns come from sql/columns/*.csv; settings as measured in docs/architecture.md.
create schema if not exists raw;
create schema if not exists core;
create schema if not exists ops;

create table raw.objects ({{ define raw.objects }});
create table raw.headers ({{ define raw.headers }});
create table raw.records ({{ define raw.records }});
create table core.images ({{ define core.images }});
create table core.clinical ({{ define core.clinical }});
create table ops.rejects ({{ define ops.rejects }});
create table ops.refreshes ({{ define ops.refreshes }});

-- What tag(header, keyword) looks keywords up in: DICOM PS3.6, as pydicom has it.
create table core.dicom_attributes (keyword varchar, tag varchar, vr varchar, meaning varchar, is_retired boolean);

-- Which of these files a lake has been through; a lake with a higher number than the tool knows is refused.
create table ops.migrations (number integer, name varchar, applied_at timestamptz, tool_version varchar);

-- By year of the available date: prunes as-of questions and costs little; finer partitions measured worse.
alter table core.images set partitioned by (year(available_date));
