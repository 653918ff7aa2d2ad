-- completeness: how many values of each column are filled, per centre (normalised) and month, in the records in effect
-- on the as-of date.
-- Only columns that apply to the kind of the file; an ethnicity of Unknown is not filled.
create or replace view completeness as
with
counted as (
    select
        centre,
        min(submitting_centre) as submitting_centre,
        cast(date_trunc('month', available_date) as date) as month,
        kind,
        count(*) as n_records,
        {{ filled_counts }}
    from clinical
    group by centre, month, kind
),

listed as (
    select
        centre,
        submitting_centre,
        month,
        kind,
        n_records,
        unnest([
            {{ filled_fields }}
        ]) as filled
    from counted
)

select
    filled.column_name,
    centre,
    submitting_centre,
    month,
    kind,
    n_records,
    filled.n_filled,
    filled.n_filled / n_records as share
from listed
where filled.applies_to in ('both', case kind when 'data' then 'positive' else 'negative' end);
