-- title: A value of a header that could not be read into its column
-- meaning: The header has a value for a declared attribute that is not in the form of its type (a date of 31 February, a
--   DS of 1_000, an age UNK), consists of bytes that cannot be decoded, or is a second value under the same tag; the cell of images
--   is null or lacks it. One row for each attribute, with the number of images and one of their keys;
--   tag(header, keyword) returns the value.
-- severity: warning
-- table: images
with
-- Each side contributes one bit per attribute: whether its cell is null, and whether it has a value; of lists one
-- character: how many values there are.
cells as (
    select
        source,
        key,
        patient_id,
        cast(concat({{ null_cells }}) as bit) as is_null,
        concat({{ cell_counts }}) as counts
    from images
),

filled as (
    select
        source,
        key,
        cast(concat({{ filled_values }}) as bit) as has_value,
        concat({{ value_counts }}) as counts,
        repeated
    from (
        select
            source,
            key,
            json_transform(header, '{{ declared_structure }}') as tags,
            case when list_unique(json_keys(header)) < len(json_keys(header)) then json_keys(header) end as repeated
        from headers
    )
),

lost as (
    select
        cells.patient_id,
        cells.key,
        cells.is_null & filled.has_value as bits,
        cells.counts as kept,
        filled.counts as sent,
        filled.repeated
    from cells
    inner join filled on cells.source = filled.source and cells.key = filled.key
    where
        bit_count(cells.is_null & filled.has_value) > 0
        or cells.counts <> filled.counts
        or filled.repeated is not null
),

named as (
    select lost.patient_id, lost.key, declared.attribute, declared.tag, declared.type
    from lost
    inner join (values {{ single_attributes }}) as declared (place, tag, attribute, type)
        on get_bit(lost.bits, declared.place) = 1
    union all
    select lost.patient_id, lost.key, declared.attribute, declared.tag, declared.type
    from lost
    inner join (values {{ list_attributes }}) as declared (place, tag, attribute, type)
        on substr(lost.sent, declared.place + 1, 1) > substr(lost.kept, declared.place + 1, 1)
    union all
    select patient_id, key, null as attribute, tag, 'repeated' as type
    from (select patient_id, key, unnest(repeated) as tag from lost where repeated is not null)
    group by patient_id, key, tag
    having count(*) > 1
)

select
    min(named.key) as key,
    coalesce(named.attribute, any_value(attributes.keyword), named.tag) as attribute,
    named.tag,
    named.type,
    count(*) as n_images,
    count(distinct named.patient_id) as n_patients
from named
left join core.dicom_attributes as attributes on named.attribute is null and named.tag = attributes.tag
group by named.attribute, named.tag, named.type
order by attribute, named.type;
