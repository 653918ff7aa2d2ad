-- known_at(patient, day): the record of a patient in effect as of a day.
-- Never later than the as-of date, because clinical_history does not show later files. The order is that of view
-- clinical.
-- The 100 percent sample keeps a query's `patient` argument above the view's own filter (sql/sandbox/shield.sql).
create or replace temp macro known_at(patient, day) as table
    select *
    from (from {{ lake }}.main.clinical_history using sample 100 percent (system)) as history
    where history.patient_id = patient and history.available_date <= cast(day as date)
    order by kind = 'data' desc, available_date desc, last_modified desc, key desc, source desc
    limit 1;
