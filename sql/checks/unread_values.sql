-- title: A value of a header that could not be read into its column
-- meaning: The header has a value for a declared attribute, but it is not of the attribute's type (a date of 31 February,
--   letters for a number), so the cell of images is null. One row for each attribute, with the number of images and
--   one of their keys; tag(header, keyword) has the value.
-- severity: warning
-- table: images
with
cells as (
    select source, key, patient_id, {{ unread_cells }}
    from images
),

filled as (
    select source, key, {{ unread_values }}
    from (select source, key, json_transform(header, '{{ unread_structure }}') as tags from headers)
),

lost as (
    select key, patient_id, {{ unread_lost }}
    from filled
    inner join cells using (source, key)
),

counted as (
    select unnest([{{ unread_counts }}], recursive := true)
    from lost
)

select key, attribute, tag, type, n_images, n_patients
from counted
where n_images > 0
order by attribute;
