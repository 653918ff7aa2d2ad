-- known_at(patient, day): the clinical file of a patient that counted on a day, by the upload clock.
-- Never past the as-of date: clinical_history does not show what came later. The order is that of view clinical.
-- The sample of all rows keeps what a query passes as `patient` above the view's own filter (sql/sandbox/shield.sql).
create or replace temp macro known_at(patient, day) as table
    select *
    from (from {{ lake }}.main.clinical_history using sample 100 percent (system)) as history
    where history.patient_id = patient and history.available_date <= cast(day as date)
    order by kind = 'data' desc, available_date desc, last_modified desc, key desc, source desc
    limit 1;
