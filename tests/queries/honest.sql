-- What researchers ask: one a paragraph, and all of it must be answered (tests/query/test_untrusted.py).

select 1

from patients

table patients

values (1, 'a'), (2, 'b')

select count(*) from "Images" where Modality in ('CR', 'DX')

select * from Patients, "studies" limit 3

select p.patient_id, count(s.StudyInstanceUID) n from patients p left join studies s using (patient_id) group by all order by all

select * from images qualify row_number() over (partition by patient_id order by StudyDate, key) = 1

with positive as (select * from patients where covid_status = 'positive'), scans as materialized (select * from images where Modality = 'CT'), both_of as (select p.patient_id, s.StudyDate from positive p join scans s using (patient_id)) select * from both_of order by 1, 2

select patient_id, list(StudyDate order by StudyDate) as seen, list_transform(seen, lambda d: d + 1), [x for x in seen if x > date '2020-03-01'] from studies group by patient_id

select {'a': 1, 'b': patient_id}.b, struct_pack(x := age).x, map {'k': 1}['k'] from patients

select regexp_extract(SoftwareVersions[1], '([0-9]+)', 1), ManufacturerModelName ilike '%x%', Manufacturer.lower(), Manufacturer not like 'G%' from images

select date_diff('day', date_of_admission, date_of_death), date_trunc('month', clinical_date), extract(year from clinical_date), strftime(clinical_date, '%Y-%m'), clinical_date + interval 3 days, clinical_date - interval '1' month, age(clinical_date, date_of_admission) from patients

select tag(header, 'KVP') kvp, count(*) from headers group by all

select p.patient_id, k.kind, k.key from patients p, lateral known_at(p.patient_id, p.first_study_date + 14) k

select * from known_at('Covid1', date '2020-06-01')

select * from (pivot patients on sex in ('F', 'M') using count(*) group by covid_status)

pivot (select covid_status, sex from patients) on sex in ('F', 'M') using count(*)

unpivot (select patient_id, n_ct, n_cr from patients) on n_ct, n_cr into name modality value n

summarize select age, sex from patients

with recursive days(d) as (select date '2020-01-01' union all select cast(d + 1 as date) from days where d < date '2020-01-10') select d, (select count(*) from studies where StudyDate <= d) from days

select * from patients p where exists (select 1 from images i where i.patient_id = p.patient_id and i.Modality = 'CT') and p.patient_id not in (select patient_id from clinical_issues)

select *, (select max(i.StudyDate) from images i where i.patient_id = p.patient_id and i.StudyDate < p.date_of_admission) from patients p

select covid_status, sex, count(*) from patients group by grouping sets ((covid_status), (sex), ())

select covid_status, sex, grouping(sex), count(*) from patients group by cube (covid_status, sex)

select width, count(*) from (select width_bucket from (select floor(age / 10) as width_bucket from patients)) t(width) group by all having count(*) > 1

select median(age), quantile_cont(age, [0.25, 0.5, 0.75]), stddev(age), mode(sex), corr(age, n_images), histogram(n_images), arg_max(patient_id, age), count(distinct sex) filter (age > 50) from patients

select patient_id, lag(StudyDate) over w, StudyDate - lag(StudyDate) over w as gap, sum(n_images) over (w rows between unbounded preceding and current row), ntile(4) over (order by StudyDate) from studies window w as (partition by patient_id order by StudyDate)

select columns(c -> c like 'n_%') from patients

select columns('^n_') from patients

select * exclude (key) replace (upper(sex) as sex) from (select * from clinical)

select patient_id from patients union select patient_id from clinical except select patient_id from studies order by all limit 3 offset 1

select 1 as a union all by name select 2 as b

select * from studies s asof join clinical_history h on s.patient_id = h.patient_id and s.StudyDate >= h.available_date

select * from patients semi join images using (patient_id)

select * from range(date '2020-01-01', date '2020-06-01', interval 1 month) t(m), generate_series(1, 3) g(n)

select patient_id, unnest(ModalitiesInStudy) from studies

select s.patient_id, m from studies s, unnest(s.ModalitiesInStudy) u(m)

select patient_id, j.key, j.value from headers, json_each(header) j limit 5

select header ->> '$."00080060".Value[0]', header -> '00080060', json_extract_string(header, '$."00100020".Value[0]') from headers

select case when age < 18 then 'child' when age >= 65 then 'old' else 'adult' end as band, count(*), round(avg(n_images), 1) from patients group by band order by count(*) desc

select coalesce(age, 0)::int, try_cast(sex as integer), nullif(sex, 'F'), ifnull(sex, '?'), age between 1 and 3, age is not distinct from 4, greatest(1, 2), -age, not has_clinical from patients

select field, old_value, new_value from clinical_changes;

select distinct on (patient_id) patient_id, StudyDate from studies order by patient_id, StudyDate desc

select 'it''s; -- not a comment' /* ; drop */ as a -- done

select patient_id from patients where age > all (select age from patients) or age = any (select age from clinical)

select * from completeness where share < 0.5 order by all

select now() > timestamptz '2020-01-01', current_date > date '2020-01-01', random() < 2

select patient_id from patients using sample 3 rows

from patients select sex, count(*) group by sex

select p from patients p limit 1

select max(d) from (select max(StudyDate) from studies group by patient_id) t(d)

select StudyDate at time zone 'Europe/London' from studies

select x.a.b from (select {'a': {'b': 3}} as x)

select patient_id, (n_ct > 0)::varchar || '!' , format('{:>5}', n_ct), lpad(n_ct::varchar, 4, '0'), n_ct % 2, n_ct // 2, 2 ** 3, 7 & 3, 'a' ~ 'b', factorial(3), 5! from patients

select position('a' in patient_id), substring(patient_id from 1 for 2), trim(both 'C' from patient_id) from patients

select array_agg(distinct Modality), string_agg(Modality, ',' order by Modality), any_value(Modality), first(Modality order by key), bool_or(Modality = 'CT') from images

with a(x) as (values (1), (2)), b as (select x from a where x in (select x from a)) select * from a natural join b

select array(select patient_id from patients), [1,2,3][1:2], 'abc'[1], len([1]), row(1, 2), (1, 2) = (1, 2)

select patient_id from patients order by patient_id collate nocase

select x: 1, y: 2

select s.* from studies s left join lateral (select max(available_date) d from clinical_history h where h.patient_id = s.patient_id and h.available_date <= s.StudyDate) c on true where c.d is null
