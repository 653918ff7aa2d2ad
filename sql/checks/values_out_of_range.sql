-- title: Values outside their range, by centre
-- meaning: A value is outside the limits of its column (chest describe clinical), after conversion to the column's
--   unit. The cell is null; the raw values are in clinical_issues, rule out_of_range. Many from one centre suggest a wrong unit or
--   swapped columns. One row for each centre and column.
-- severity: warning
-- table: clinical_issues
select
    min(submitting_centre) as submitting_centre,
    column_name,
    count(*) as n_values,
    count(distinct patient_id) as n_patients,
    arg_min(key, (available_date, key)) as first_key
from clinical_issues
where rule = 'out_of_range'
group by centre, column_name
order by all;
