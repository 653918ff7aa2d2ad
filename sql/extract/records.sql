-- A batch of clinical files (relation files: the columns of raw.objects, content as text, and row, its number) taken
-- apart for cleaning. One statement under each name; warehouse/ingest/extraction.py runs them; warehouse/cleaning does the rest.
-- Keys of JSON are case-sensitive and white space in them counts; columns of a struct are not, so fields are
-- reached by JSON pointers. Fields of OtherDataSources.SegmentationData count as the record's own.

-- name: records
-- The name of a file has its kind in the published layout. In the dated layout it is status when it has a
-- field that only negative records have and none that only positive records have.
-- Every function that reads a text parses it again, which is most of the cost: so they are few.
select
    * exclude (fields, record, found, is_bounded),
    found is not null and is_bounded as is_record,
    found as keys,
    case
        when record is not null then record
        when
            list_has_any(fields, {{ negative_fields }}) and not list_has_any(fields, {{ positive_fields }})
            then 'status'
        else 'data'
    end as kind
from (
    select *, list_concat(coalesce(found[1], []), coalesce(found[3], [])) as fields
    from (
        select
            * exclude (kind),
            case when try(json_type(content)) = 'OBJECT' then json_keys(content, {{ objects }}) end as found,
            coalesce(len(found[1]), 0) + coalesce(len(found[2]), 0) + coalesce(len(found[3]), 0)
            <= {{ most_fields }} as is_bounded
        from files
    )
);

-- The statements below are about the records alone (relation valid: those of the batch that are JSON objects, with
-- keys: the names in each of their objects, which are the record itself and the two it may hold).

-- name: values
-- The known fields of each record that are there.
-- Of the JSON itself the first character is enough: it distinguishes a text from a number, an object or a list.
select
    row,
    cast(place as smallint) as place,
    is_nested,
    left(value, 1) as start,
    case
        when value[1] = '"' and not contains(value, '\') then value[2:-2]
        else json_extract_string(value, '$')
    end as raw_value
from (
    select row, is_nested, cast(unnest(found) as varchar) as value, unnest(range({{ number }})) as place
    from (
        select row, false as is_nested, json_extract(content, {{ pointers }}) as found
        from valid
        union all
        select row, true as is_nested, json_extract(content, {{ nested_pointers }}) as found
        from valid
        where len(keys[3]) > 0
    )
)
where value is not null;

-- name: swabs
-- The items of SwabDates, wherever it is a list, with their two parts.
with
lists as (
    select row, false as is_nested, json_extract(content, '/SwabDates') as swabs
    from valid
    where list_contains(keys[1], 'SwabDates')
    union all
    select row, true as is_nested, json_extract(content, '/OtherDataSources/SegmentationData/SwabDates') as swabs
    from valid
    where list_contains(keys[3], 'SwabDates')
),

items as (
    select row, is_nested, unnest(items) as item_value, unnest(range(len(items))) as item
    from (
        select row, is_nested, from_json(swabs, '["JSON"]') as items
        from lists
        where json_type(swabs) = 'ARRAY'
    )
)

select
    row,
    is_nested,
    item,
    item_value,
    unnest(cast({{ swab_places }} as smallint[])) as place,
    left(cast(unnest(json_extract(item_value, ['/SwabDate', '/SwabStatus'])) as varchar), 1) as start,
    unnest(json_extract_string(item_value, ['/SwabDate', '/SwabStatus'])) as raw_value
from items;

-- name: oddities
-- Fields that the column table does not know, and known ones that are there more than once.
with
objects as (
    select row, unnest(keys) as keys, unnest({{ objects }}) as path
    from valid
),

counted as (
    select row, path, key, count(*) as times
    from (
        select row, path, unnest(keys) as key
        from objects
        where
            len(list_distinct(keys)) < len(keys)
            or not list_has_all(
                case path
                    when '' then {{ known_fields }}
                    when '/OtherDataSources' then ['SegmentationData']
                    else {{ nested_fields }}
                end,
                keys
            )
    )
    group by all
)

select
    row,
    ltrim(replace(path, '/', '.') || '.', '.') || key as field,
    -- A record is taken apart once, however many of its fields are odd; of those there twice the first counts.
    raw_values[list_position(keys, key)] as raw_value,
    case when times > 1 then 'duplicate_field' else 'unknown_field' end as rule
from counted
inner join (
    select
        row,
        path,
        keys,
        case path
            when '' then json_extract_string(content, '$.*')
            when '/OtherDataSources' then json_extract_string(content, '$.OtherDataSources.*')
            else json_extract_string(content, '$.OtherDataSources.SegmentationData.*')
        end as raw_values
    from (select row, content, unnest(keys) as keys, unnest({{ objects }}) as path from valid)
    where (row, path) in (select (row, path) from counted)
) as taken using (row, path)
where
    times > 1
    or not list_contains(
        case path
            when '' then {{ known_fields }}
            when '/OtherDataSources' then ['SegmentationData']
            else {{ nested_fields }}
        end,
        key
    );
