-- 0001: schemas and tables. Columns come from sql/columns/*.csv; settings as measured in docs/architecture.md.
create schema if not exists raw;
create schema if not exists core;
create schema if not exists ops;

create table raw.objects ({{ define_raw_objects }});
create table raw.headers ({{ define_raw_headers }});
create table raw.records ({{ define_raw_records }});
create table core.images ({{ define_core_images }});
create table core.clinical ({{ define_core_clinical }});
create table ops.rejects ({{ define_ops_rejects }});
create table ops.refreshes ({{ define_ops_refreshes }});

-- What tag(header, keyword) looks keywords up in: DICOM PS3.6, as pydicom has it.
create table core.dicom_attributes (keyword varchar, tag varchar, vr varchar, meaning varchar, is_retired boolean);

-- Which of these files a lake has been through; a lake with a higher number than the tool knows is refused.
create table ops.migrations (number integer, name varchar, applied_at timestamptz, tool_version varchar);

-- By year of the available date: prunes as-of questions and costs little; finer partitions measured worse.
alter table core.images set partitioned by (year(available_date)); -- noqa: PRS
