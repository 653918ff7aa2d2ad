-- title: A clinical record that names another patient than its key
-- meaning: The Pseudonym in the record differs from that in the key of the file. The record is
--   loaded under the key's patient; only the sender can determine whose it is. A Pseudonym of no known patient is
--   shown masked.
-- severity: error
-- table: clinical_history
select
    history.patient_id,
    history.key,
    case
        when pseudonyms.patient_id is not null or regexp_full_match(trim(history.pseudonym), 'Covid[0-9]+')
            then trim(history.pseudonym)
        else masked(history.pseudonym)
    end as pseudonym,
    history.submitting_centre,
    history.available_date
from clinical_history as history
left join (select distinct patient_id from raw.objects) as pseudonyms on trim(history.pseudonym) = pseudonyms.patient_id
where trim(history.pseudonym) <> history.patient_id
order by all;
