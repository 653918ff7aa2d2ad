-- title: A value of a header that could not be read into its column
-- meaning: The header has a value for a declared attribute, but it is not of the attribute's type (a date of 31 February,
--   letters for a number), so the cell of images is null. One row for each attribute, with the number of images and
--   one of their keys; tag(header, keyword) has the value.
-- severity: warning
-- table: images
with
-- Of either side one bit an attribute is joined: whether its cell is null, and whether it has a value.
cells as (
    select source, key, patient_id, cast(concat({{ null_cells }}) as bit) as is_null
    from images
),

filled as (
    select source, key, cast(concat({{ filled_values }}) as bit) as has_value
    from (select source, key, json_transform(header, '{{ typed_structure }}') as tags from headers)
),

lost as (
    select cells.patient_id, cells.key, cells.is_null & filled.has_value as bits
    from cells
    inner join filled on cells.source = filled.source and cells.key = filled.key
    where bit_count(cells.is_null & filled.has_value) > 0
)

select
    min(lost.key) as key,
    declared.attribute,
    declared.tag,
    declared.type,
    count(*) as n_images,
    count(distinct lost.patient_id) as n_patients
from lost
inner join (values {{ typed_attributes }}) as declared (place, tag, attribute, type)
    on get_bit(lost.bits, declared.place) = 1
group by declared.attribute, declared.tag, declared.type
order by declared.attribute;
