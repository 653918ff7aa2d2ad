-- title: A value of a header that could not be read into its column
-- meaning: The header has a value for a declared attribute that is not in the form of its type (a date of 31 February, a
--   DS of 1_000, an age UNK), consists of bytes that cannot be decoded, is a second value where the column has one, or a second
--   one under the same tag; the cell of images is null or lacks it. Also what no reader finds, of any attribute (type
--   'not understood'): a member of the header that is neither a tag nor a keyword, and an attribute whose members have
--   other names than those of DICOM JSON. One row for each attribute, with the number of images and one of their keys;
--   tag(header, keyword) returns the value, unless it is not understood.
-- severity: warning
-- table: images
with
-- Each side contributes one bit per attribute, 60 to a number: whether its cell is null, and whether it has a value, or
-- several; of lists six bits, ten lists to a number: how many values there are.
cells as (
    select
        source,
        key,
        patient_id,
        {{ null_cells }},
        {{ cell_counts }}
    from images
),

filled as (
    select
        source,
        key,
        {{ filled_values }},
        {{ several_values }},
        {{ value_counts }},
        -- Tags that ascend, as DICOM writes them, whatever the last one is, are not repeated: counting them costs more.
        case
            when
                not list_contains(tags_sent[:-2], tags_sent[-1])
                and list_bool_and(
                    list_transform(list_zip(tags_sent[:-3], tags_sent[2:-2]), lambda pair: pair[1] < pair[2])
                )
                then null
            when list_unique(tags_sent) < len(tags_sent) then tags_sent
        end as repeated,
        -- A header as it was sent is in normal form, or was brought into it: then members may be left over.
        case
            when members is not null
                then list_transform(
                    list_filter(
                        list_zip(tags_sent, members),
                        lambda pair: (
                            (not regexp_full_match(pair[1], '[0-9A-F]{8}') and json_type(pair[2]) <> 'NULL')
                            or (
                                json_type(pair[2]) = 'OBJECT'
                                and not list_has_any(json_keys(pair[2]), ['Value', 'InlineBinary', 'BulkDataURI'])
                                and not list_has_all(
                                    ['vr', 'keyword', 'name', 'tag', 'privateCreator'], json_keys(pair[2])
                                )
                            )
                        )
                    ),
                    lambda pair: pair[1]
                )
        end as odd_members
    from (
        select
            source,
            key,
            case when sent is not null then json_extract(header, '$.*') end as members,
            json_transform(header, '{{ declared_structure }}') as tags,
            json_keys(header) as tags_sent
        from headers
    )
),

lost as (
    select
        cells.patient_id,
        cells.key,
        [{{ lost_bits }}] as bits,
        [{{ kept_counts }}] as kept,
        [{{ sent_counts }}] as sent,
        filled.repeated,
        filled.odd_members
    from cells
    inner join filled on cells.source = filled.source and cells.key = filled.key
    where {{ is_lost }} or filled.repeated is not null or len(filled.odd_members) > 0
),

named as (
    select lost.patient_id, lost.key, declared.attribute, declared.tag, declared.type
    from lost
    inner join (values {{ single_attributes }}) as declared (place, tag, attribute, type)
        on (lost.bits[declared.place // 60 + 1] >> (declared.place % 60)) & 1 = 1
    union all
    select lost.patient_id, lost.key, declared.attribute, declared.tag, declared.type
    from lost
    inner join (values {{ list_attributes }}) as declared (place, tag, attribute, type)
        on
            (lost.sent[declared.place // 10 + 1] >> (6 * (declared.place % 10))) & 63
            > (lost.kept[declared.place // 10 + 1] >> (6 * (declared.place % 10))) & 63
    union all
    select patient_id, key, null as attribute, tag, 'repeated' as type
    from (select patient_id, key, unnest(repeated) as tag from lost where repeated is not null)
    group by patient_id, key, tag
    having count(*) > 1
    union all
    select patient_id, key, null as attribute, unnest(odd_members) as tag, 'not understood' as type
    from lost
    where odd_members is not null
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
