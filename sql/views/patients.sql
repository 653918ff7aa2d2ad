-- patients: one row per patient with an image or a clinical record available on the as-of date.
-- Positive patients have a data file, negative ones only status files (the order is that of view clinical); a patient
-- without a clinical record has no status. Age and sex are those of the record in effect, or if it has none, of the
-- newest header with a readable value (images.header_age, header_sex), by available date, StudyDate (headers without
-- one come first) and key; age_source and sex_source name the source. All other fields of the record are in view
-- clinical.
create or replace view patients as
with
image_facts as (
    select
        patient_id,
        min(group_name) as group_name,
        min(available_date) as available_date,
        arg_max(header_age, (available_date, coalesce(StudyDate, date '-infinity'), key, source)) as age,
        arg_max(header_sex, (available_date, coalesce(StudyDate, date '-infinity'), key, source)) as sex,
        min(StudyDate) as first_study_date,
        max(StudyDate) as last_study_date,
        count(distinct StudyInstanceUID) as n_studies,
        count(distinct StudyInstanceUID || ' ' || SeriesInstanceUID) as n_series,
        count(*) as n_images,
        count(*) filter (Modality = 'CR') as n_cr,
        count(*) filter (Modality = 'DX') as n_dx,
        count(*) filter (Modality = 'CT') as n_ct,
        count(*) filter (Modality = 'MR') as n_mr
    from images
    group by patient_id
),

first_records as (
    select patient_id, min(available_date) as available_date
    from clinical_history
    group by patient_id
)

select
    coalesce(image_facts.patient_id, clinical.patient_id) as patient_id,
    coalesce(clinical.group_name, image_facts.group_name) as group_name,
    least(image_facts.available_date, first_records.available_date) as available_date,
    case clinical.kind when 'data' then 'positive' when 'status' then 'negative' end as covid_status,
    clinical.submitting_centre,
    clinical.centre,
    clinical.available_date as clinical_date,
    clinical.key as clinical_key,
    clinical.key is not null as has_clinical,
    coalesce(clinical.age, image_facts.age) as age,
    case when clinical.age is not null then 'record' when image_facts.age is not null then 'header' end as age_source,
    coalesce(clinical.sex, image_facts.sex) as sex,
    case when clinical.sex is not null then 'record' when image_facts.sex is not null then 'header' end as sex_source,
    clinical.ethnicity,
    clinical.date_of_positive_covid_swab,
    clinical.first_rt_pcr_result,
    clinical.final_covid_status,
    clinical.date_of_admission,
    clinical.itu_admission,
    clinical.intubation,
    clinical.death,
    clinical.date_of_death,
    image_facts.first_study_date,
    image_facts.last_study_date,
    coalesce(image_facts.n_studies, 0) as n_studies,
    coalesce(image_facts.n_series, 0) as n_series,
    coalesce(image_facts.n_images, 0) as n_images,
    coalesce(image_facts.n_cr, 0) as n_cr,
    coalesce(image_facts.n_dx, 0) as n_dx,
    coalesce(image_facts.n_ct, 0) as n_ct,
    coalesce(image_facts.n_mr, 0) as n_mr,
    coalesce(
        image_facts.n_images - image_facts.n_cr - image_facts.n_dx - image_facts.n_ct - image_facts.n_mr, 0
    ) as n_other
from image_facts
full join clinical on image_facts.patient_id = clinical.patient_id
left join first_records on clinical.patient_id = first_records.patient_id;
