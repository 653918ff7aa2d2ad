-- clinical_issues: every value that was nulled, repaired, changed or flagged, of all clinical files available on the
-- as-of date.  select * from clinical_issues where rule = 'out_of_range'  explains values; select rule, effect,
-- count(*) … group by all  summarizes. The rules are in sql/cleaning/rules.csv.
create or replace view clinical_issues as
select {{ names_core_clinical_issues }}
from core.clinical_issues
where available_date <= {{ as_of }} and {{ in_group }};
