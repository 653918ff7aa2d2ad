-- clinical_history: every clinical file that was available on the as-of date.
create or replace view clinical_history as
select {{ names_core_clinical }}
from core.clinical
where available_date <= {{ as_of }} and {{ in_group }};
