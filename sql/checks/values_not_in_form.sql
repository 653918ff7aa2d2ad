-- title: A header value that is not valid DICOM but was kept
-- meaning: An identifier that is not a valid UID (PS3.5 9.1: at most 64 digits and dots, no component with a leading zero), or an
--   age that is not three digits and a unit (PS3.5, table 6.2-1: 053Y). The value is kept as it was sent: an identifier
--   still shows which images belong together, an age without a unit is read as years. One row for each attribute, with the
--   number of images and one of their keys. Ages that cannot be read at all are in check unread_values.
-- severity: warning
-- table: images
select
    min(key) as key,
    attribute,
    count(*) as n_images,
    count(distinct patient_id) as n_patients
from (
    select
        key,
        patient_id,
        unnest(list_filter(
            [{{ values_with_form }}],
            lambda found: case found.vr
                when 'UI'
                    then
                        length(found.value) > 64
                        or not regexp_full_match(found.value, '(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*')
                when 'AS' then not regexp_full_match(found.value, '[0-9]{3}[DWMY]')
            end
        )).attribute as attribute
    from images
)
group by attribute
order by attribute;
